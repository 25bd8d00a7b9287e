package label

import (
	"mime"
	"strings"
	"testing"
)

func TestSubject(t *testing.T) {
	const mark = "[SPOOF?]"
	long := strings.Repeat("x", 950)
	for _, tt := range []struct{ reason, in, stamp, want string }{
		{"plain", " hello", mark, " [SPOOF?] hello"},
		{"no space after the colon", "hello", mark, " [SPOOF?] hello"},
		{"empty", "", mark, " [SPOOF?] "},
		{"folded", " one\r\n two\r\n\tthree", mark, " [SPOOF?] one\r\n two\r\n\tthree"},
		{"begins with a fold", "\r\n two", mark, " [SPOOF?] \r\n two"},
		{"encoded", " =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n =?utf-8?Q?b?=", mark, " [SPOOF?] =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n =?utf-8?Q?b?="},
		{"8-bit", " \xe3\x81\x82", mark, " [SPOOF?] \xe3\x81\x82"},
		{"a long line", " " + long, mark, " [SPOOF?]\r\n " + long},
		{"NUL and a lone CR", " a\x00b\rc", mark, " [SPOOF?] a b c"},
		{"a blank line within", " a\r\n \r\n\t\r\n b", mark, " [SPOOF?] a\r\n b"},
		{"a line break that is no fold", " a\nBcc: x", mark, " [SPOOF?] a\r\n Bcc: x"},
		{"a stamp in Japanese", " hello", "【なりすまし】", " =?utf-8?b?44CQ44Gq44KK44GZ44G+44GX44CR?= hello"},
		{"beside an encoded word", " =?utf-8?Q?a?=", "【偽】", " =?utf-8?b?44CQ5YG944CRIA==?= =?utf-8?Q?a?="},
		{"a space at the stamp's end", " hello", mark + " ", " [SPOOF?] hello"},
	} {
		if got := withStamp(tt.in, tt.stamp); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
	for value, want := range map[string]bool{
		" [SPOOF?] hello": true, "[SPOOF?]": true, " \r\n [SPOOF?] x": true, " =?utf-8?Q?=5BSPOOF=3F=5D_hello?=": true,
		" Re: [SPOOF?] hello": false, " hello": false, "": false, " =?utf-7?Q?x?=": false,
	} {
		if got := hasStamp(value, mark); got != want {
			t.Errorf("%q: stamped %t", value, got)
		}
	}
	if !hasStamp(withStamp(" =?utf-8?Q?a?=", "【偽】"), "【偽】") || !hasStamp(withStamp(" a", "【偽】 "), "【偽】 ") {
		t.Error("an encoded stamp is not known again")
	}
}

// FuzzSubject checks a stamped Subject for any original value: it is one field, it begins
// with the stamp, and it is not stamped a second time.
func FuzzSubject(f *testing.F) {
	for _, s := range []string{" hello", "", "\r\n \r\n", " a\nb", "\x00\r\r", " =?utf-8?B?4?=", strings.Repeat("\r\n x", 100), " [SPOOF?]"} {
		f.Add(s, "[SPOOF?]")
		f.Add(s, "【偽】")
	}
	f.Fuzz(func(t *testing.T, value, stamp string) {
		if stamp = strings.TrimSpace(stamp); stamp == "" || len(stamp) > 40 ||
			strings.ContainsFunc(stamp, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
			return
		}
		got := withStamp(value, stamp)
		lines := strings.Split(got, "\r\n")
		for i, line := range lines {
			if strings.ContainsAny(line, "\r\n\x00") || i > 0 && (strings.Trim(line, " \t") == "" || line[0] != ' ' && line[0] != '\t') {
				t.Fatalf("%q became %q", value, got)
			}
		}
		shown, _ := new(mime.WordDecoder).DecodeHeader(strings.TrimSpace(encodeStamp(stamp)))
		if !hasStamp(got, stamp) && shown == stamp {
			t.Fatalf("%q is stamped twice: %q", value, got)
		}
		if len(got) > maxSubject*2+1000 {
			t.Fatalf("%d octets", len(got))
		}
	})
}
