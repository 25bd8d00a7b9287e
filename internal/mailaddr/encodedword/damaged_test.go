package encodedword

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/testkit/octets"
)

// judgedTexts returns every text that a client might see, or the refusal.
func judgedTexts(text string, strict bool) string {
	var seen []string
	refusal := Decodings(text, strict, func(d Decoded) string {
		s := fmt.Sprintf("%q", d.Judged)
		if d.Display != d.Judged {
			s = fmt.Sprintf("%q shown as %q", d.Judged, d.Display)
		}
		if !slices.Contains(seen, s) {
			seen = append(seen, s)
		}
		return ""
	})
	return strings.Join(seen, ", ") + map[bool]string{true: "", false: " refused: " + refusal}[refusal == ""]
}

// TestDamaged says which texts clients see in words that are damaged.
func TestDamaged(t *testing.T) {
	octets.Golden(t, "testdata/damaged.txt", []string{
		"x =?utf-8*de?Q?a=3Cb?= \t =?UTF-8?b?PEA+?= y",
		"=?iso-8859-1?q?=e9=?= =?us-ascii?q?_?=",
		"=?hz-gb-2312?Q?a~{<@~}b?=",
		"=?iso-2022-jp?B?GyRCPCtAOD4uGyhC?=",
	}, func(text string) string { return judgedTexts(text, false) })
}

// TestCharsets checks how words of each kind of charset are judged. The octets spell "<a@b>" in ASCII.
func TestCharsets(t *testing.T) {
	const ascii = `"<a@b>"`
	for _, tt := range []struct{ charsets, octets, want string }{
		{"utf-8 utf8 us-ascii iso-8859-1", "<a@b>", ascii},
		{"iso-8859-1", "=e9", `"é"`},
		{"foo932 932x foo037 37x x1361", "=83=40", `"\x83@" shown as "=?CHARSET?q?=83=40?="`},
		{"iso-2022-kr", "=1b(B<=1b(J@", `"\x1b(B<\x1b(J@" shown as "=?CHARSET?q?=1b(B<=1b(J@?=", "<@" shown as "=?CHARSET?q?=1b(B<=1b(J@?="`},
		{"iso-2022-kr", "=1b$A<=1b(I@=1b$(C<", `"\x1b$A<\x1b(I@\x1b$(C<" shown as "=?CHARSET?q?=1b$A<=1b(I@=1b$(C<?=", "���" shown as "=?CHARSET?q?=1b$A<=1b(I@=1b$(C<?="`},
		{"iso-2022-kr", "=1b$+A<=1b=20B@", `"\x1b$+A<\x1b B@" shown as "=?CHARSET?q?=1b$+A<=1b=20B@?=", "<@" shown as "=?CHARSET?q?=1b$+A<=1b=20B@?="`},
		{"iso-2022-kr", "=1b(I@", `"\x1b(I@" shown as "=?CHARSET?q?=1b(I@?=", "�" shown as "=?CHARSET?q?=1b(I@?="`},
		{"iso-2022-kr", "=1b$(C@", `"\x1b$(C@" shown as "=?CHARSET?q?=1b$(C@?=", "�" shown as "=?CHARSET?q?=1b$(C@?="`},
		{"johab", "=84@", `"\x84@" shown as "=?CHARSET?q?=84@?=", "�" shown as "=?CHARSET?q?=84@?="`},
		{"johab", "=84=20@", `"\x84 @" shown as "=?CHARSET?q?=84=20@?=", "� @" shown as "=?CHARSET?q?=84=20@?="`},
		{"johab", "=84@@", `"\x84@@" shown as "=?CHARSET?q?=84@@?=", "�@" shown as "=?CHARSET?q?=84@@?="`},
		{"iso-2022-kr iso-2022-cn", "=1bN<", `"\x1bN<" shown as "=?CHARSET?q?=1bN<?=" refused: ` + hidingCharset},
		{"iso-2022-kr iso-2022-cn", "=1bO<", `"\x1bO<" shown as "=?CHARSET?q?=1bO<?=" refused: ` + hidingCharset},
		{"iso-2022-kr", "=0e<=0f@", `"\x0e<\x0f@" shown as "=?CHARSET?q?=0e<=0f@?=", "�@" shown as "=?CHARSET?q?=0e<=0f@?="`},
		{"johab", "=84", `"\x84" shown as "=?CHARSET?q?=84?=", "�" shown as "=?CHARSET?q?=84?="`},
		{"johab", "=84=20<", `"\x84 <" shown as "=?CHARSET?q?=84=20<?=", "� <" shown as "=?CHARSET?q?=84=20<?="`},
		{"x-any iso-8859-15 windows-1252 cp850 ibm437 gbk big5 437", "<a@b>", ascii + ` shown as "=?CHARSET?q?<a@b>?="`},
		{"utf-7 UTF7 utf_7 UTF~7 x-unicode-1-1-utf-7 imap4-utf-7 bocu-1 unicode_escape raw-unicode-escape u7 cp65000 65000 windows-65000", "<a@b>", " refused: " + hidingCharset},
		{"shift_jis sjis x-sjis ms_kanji csShiftJIS windows-31j cp932 cp932-x 932 ibm-943_P15A cp942 euc-jp x-euc-jp eucjp-ms eucjp-win ujis cp51932 cp20932", "<a@b>", ascii},
		{"iso-2022-jp iso-2022-jp-1 iso-2022-jp-ms csISO2022JP cp50220 50221 cp50222", "<a@b>", ascii},
		{"iso-2022-jp", "=1b$B<+=1b(B", `"自", "��" shown as "自"`},
		{"hz hz-gb-2312 hz-gb cp52936 52936", "~{<@~}", `"~{<@~}" shown as "=?CHARSET?q?~{<@~}?=", "��" shown as "=?CHARSET?q?~{<@~}?="`},
		{"iso-2022-kr cp50225 cp50229", "<a@b>", ascii + ` shown as "=?CHARSET?q?<a@b>?="`},
		{"johab cp1361 ms1361 ksc5601_1992-johab", "=84=3c=84=40<", `"\x84<\x84@<" shown as "=?CHARSET?q?=84=3c=84=40<?=", "��<" shown as "=?CHARSET?q?=84=3c=84=40<?="`},
		{"cp037 ibm037 ibm-37 ebcdic-cp-us osf10020025 cp1047 cp20273 28709 cp4133", "=81=4b=82", `"a.b" shown as "=?CHARSET?q?=81=4b=82?="`},
		{"cp037 ibm500 cp4133 cp20037", "=4c=81", " refused: " + hidingCharset},
	} {
		for charset := range strings.FieldsSeq(tt.charsets) {
			got := judgedTexts("=?"+charset+"?q?"+tt.octets+"?=", false)
			if want := strings.ReplaceAll(tt.want, "CHARSET", charset); got != want {
				t.Errorf("%s: %s, want %s", charset, got, want)
			}
		}
	}
}

// TestEBCDICPages guards the numbers of the code pages against a slip of the finger.
func TestEBCDICPages(t *testing.T) {
	sum := 0
	for _, page := range ebcdicPages {
		sum += page
		if name := fmt.Sprint("cp", page); !ebcdic(name) {
			t.Errorf("%s is not EBCDIC", name)
		}
	}
	if !slices.IsSorted(ebcdicPages) || len(ebcdicPages) != 129 || sum != 204914 {
		t.Errorf("%d pages with the sum %d", len(ebcdicPages), sum)
	}
}

// TestDecoders compares the decoders with the encodings (RFC 2047 §4): every short sequence of pieces.
func TestDecoders(t *testing.T) {
	escape := regexp.MustCompile(`=[0-9A-Fa-f]{2}|_`)
	for s := range octets.Words(5, "=", "4", "a", "F", "g", "_", "@", ":") {
		want := escape.ReplaceAllStringFunc(s, func(e string) string {
			c := byte(' ')
			_, _ = fmt.Sscanf(e, "=%02x", &c)
			return string([]byte{c})
		})
		if got := string(decodeQ(s)); got != want {
			t.Errorf("Q %q: %q, want %q", s, got, want)
		}
	}
	other := regexp.MustCompile(`[^A-Za-z0-9+/]`)
	for s := range octets.Words(5, "A", "z", "0", "/", "=", "!", "-") {
		want := ""
		for _, part := range strings.Split(s, "=") {
			part = other.ReplaceAllString(part, "")
			if len(part)%4 == 1 {
				part = part[:len(part)-1]
			}
			part += strings.Repeat("=", (4-len(part)%4)%4)
			octets, err := base64.StdEncoding.DecodeString(part)
			if err != nil {
				octets, _ = base64.RawStdEncoding.DecodeString(strings.TrimRight(part, "="))
			}
			want += string(octets)
		}
		if got := string(decodeB(s)); got != want {
			t.Errorf("B %q: %q, want %q", s, got, want)
		}
	}
	for c := range 256 {
		s := string([]byte{byte(c)})
		digit := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '/'
		if got := len(decodeB("QU" + s + "I")); c != '=' && (got == 3) != digit {
			t.Errorf("base64 %q: %d octets", s, got)
		}
		want := strings.Index("0123456789abcdef", strings.ToLower(s))
		if want < 0 || c >= 0x80 {
			want = 16
		}
		if got := unhex(byte(c)); int(got) != want {
			t.Errorf("%q: %d", s, got)
		}
	}
}

// TestUnshifted has each kind of shift. What stands after one is not ASCII.
func TestUnshifted(t *testing.T) {
	for _, tt := range []struct {
		octets, want string
		ok           bool
	}{
		{"", "", true}, {"<@>", "<@>", true}, {"\x1b", "", true}, {"a\x1b", "a", true},
		{"\x1b$B<@", "��", true}, {"\x1b$B<@\x1b(B<@", "��<@", true}, {"\x1b$B<\x1b(J@", "�@", true}, {"\x1b$(C<", "�", true}, {"\x1b(I<", "�", true}, {"\x1b(0<", "�", true},
		{"\x1b$B<\n@", "�\n�", true}, {"\x1b$", "", true}, {"\x1b$(", "", true}, {"\x1b\x01<@", "<@", true}, {"\x1b \x01<@", "<@", true}, {"\x1b(\x1fB<", "��", true},
		{"<\x0e<\x0f<", "<�<", true}, {"~{<~}<", "�<", true}, {"~<", "~<", true}, {"~{", "", true}, {"a\x1bN<", "", false}, {"\x1bO", "", false},
	} {
		if got, ok := unshifted([]byte(tt.octets)); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %q, %t, want %q", tt.octets, got, ok, tt.want)
		}
	}
}
