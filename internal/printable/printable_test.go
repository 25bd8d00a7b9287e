package printable

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestValue(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain ~text": "plain ~text", "a\x1b[2J": `"a\x1b[2J"`, "é": `"\u00e9"`, "\xff": `"\xff"`, "\x7f": `"\x7f"`, "\u202e": `"\u202e"`,
		`"`: `"`,
	} {
		if got := Value(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
		if got := Escaped(in); got != want && `"`+got+`"` != want {
			t.Errorf("%q without quotes: %s, want %s", in, got, want)
		}
	}
}

func TestIs(t *testing.T) {
	for _, tt := range []struct {
		in           string
		plain, ascii bool
	}{
		{"", true, true}, {" ~", true, true}, {"a\x1f", false, true}, {"a\x7f", false, true}, {"\x00a", false, true},
		{"a\x80", false, false}, {"\xffa", false, false}, {"é", false, false},
	} {
		if plain, ascii := IsPlain(tt.in), IsASCII(tt.in); plain != tt.plain || ascii != tt.ascii {
			t.Errorf("%q: plain %t, ASCII %t", tt.in, plain, ascii)
		}
	}
}

func TestCounted(t *testing.T) {
	for n, want := range map[int64]string{0: "0 days", 1: "1 day", 2: "2 days", 11: "11 days"} {
		if got := Counted(n, "day"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestQuoted(t *testing.T) {
	for in, want := range map[string]string{"": `""`, "ab": `"ab"`, "abcd": `"abcd"`, "abcde": `"abcd"...`, "\x00": `"\x00"`,
		"aéaé": `"a\u00e9a"...`, "aaaé": `"aaa\xc3"...`} {
		if got := Quoted(in, 4); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "abcd": "abcd", "abcde": "abcd...", "aaaé": "aaa...", "aaéa": "aaé...",
		"a関守": "a関...", "関守": "関...", "aaa😀": "aaa...", "😀😀": "😀...",
		"\xff\xff\xff\xff\xff": "\xff\xff\xff\xff...", "\x80\x80\x80\x80\x80": "\x80\x80\x80\x80...", "aaaa\x80": "aaaa...", "aaa\xc3\x41": "aaa\xc3...",
	} {
		if got := Clip(in, 4); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got, want := Clip("\x80\x80\x80\x80", 3), "\x80\x80\x80..."; got != want {
		t.Errorf("no character begins within the limit: %q, want %q", got, want)
	}
}

func TestMarked(t *testing.T) {
	for _, tt := range []struct{ reason, in, ascii, utf8 string }{
		{"nothing", "", "", ""},
		{"all of printable ASCII", ` !"\~`, ` !"\~`, ` !"\~`},
		{"line ends, NUL, DEL, tab", "\r\n\x00\x7f\t", "?????", "?????"},
		{"one mark for each character", "é関", "??", "é関"},
		{"one mark for each octet that is not UTF-8", "\xff\xe3\x81", "???", "???"},
		{"U+FFFD is a character", "\ufffd", "?", "\ufffd"},
		{"marks of direction, other spaces, C1 controls", "\u202e\u00a0\u0085", "???", "???"},
		{"exactly full", "1234567890", "1234567890", "1234567890"},
		{"exactly full, with a mark", "\x00123456789", "?123456789", "?123456789"},
		{"exactly full, with a character beyond ASCII", "12345678é", "12345678?", "12345678é"},
		{"cut", "12345678901", "1234567...", "1234567..."},
		{"characters of three octets: full", "関関関", "???", "関関関"},
		{"characters of three octets: cut before the mark", "関関関関", "????", "関関..."},
	} {
		if got := Marked(tt.in, 10); got != tt.ascii {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.ascii)
		}
		if got := MarkedUTF8(tt.in, 10); got != tt.utf8 {
			t.Errorf("%s, UTF-8: %q, want %q", tt.reason, got, tt.utf8)
		}
	}
	huge := strings.Repeat("\x00", 1<<20)
	if n := testing.AllocsPerRun(10, func() { Marked(huge, 255) }); n > 10 {
		t.Errorf("%g allocations: Marked reads more than the beginning of the text", n)
	}
}

// FuzzRules checks that the result of each function, for any text, is valid UTF-8, has neither
// control characters (except line ends and tabs of Text) nor marks that turn the direction of text,
// and has at most the length that is allowed. If a function other than Quoted is called with its
// own result, it must return the same text.
func FuzzRules(f *testing.F) {
	for _, s := range []string{"plain", `a"\b`, "\x1b[31m", "a\r\n250 ok", "関守", "a\u202eb\u2069\u200f", "\xe3\x81", "\x7f\u0085\U000e0041",
		"\xff\xff\xff\xff", "é"} {
		f.Add(s, uint8(3))
		f.Add(s, uint8(200))
	}
	f.Fuzz(func(t *testing.T, s string, n uint8) {
		limit := max(int(n), len(cutMark))
		check := func(rule, got string, bound int, more string) {
			t.Helper()
			if len(got) > bound || !utf8.ValidString(got) {
				t.Errorf("%s of %q: %q", rule, s, got)
			}
			for _, r := range got {
				if strings.ContainsRune(more, r) {
					continue
				}
				if unicode.In(r, unicode.C, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
					t.Errorf("%s of %q: %U is in %q", rule, s, r, got)
				}
			}
		}
		const escapes = 6 // one octet can become six: \u0000
		check("Value", Value(s), escapes*len(s)+2, "")
		check("Escaped", Escaped(s), escapes*len(s), "")
		check("Quoted", Quoted(s, limit), escapes*limit+2+len(cutMark), "")
		check("Marked", Marked(s, limit), limit, "")
		check("MarkedUTF8", MarkedUTF8(s, limit), limit, "")
		check("Text", Text(s), escapes*len(s), "\n\t")
		for rule, f := range map[string]func(string) string{
			"Value": Value, "Escaped": Escaped, "Text": Text,
			"Marked":     func(s string) string { return Marked(s, limit) },
			"MarkedUTF8": func(s string) string { return MarkedUTF8(s, limit) },
		} {
			if once := f(s); f(once) != once {
				t.Errorf("%s of %q: %q, and then %q", rule, s, once, f(once))
			}
		}
		if got := Marked(s, limit); !IsPlain(got) || IsPlain(s) && len(s) <= limit && got != s {
			t.Errorf("Marked of %q: %q", s, got)
		}
		got := Clip(s, limit)
		if len(got) > limit+len(cutMark) || utf8.ValidString(s) && !utf8.ValidString(got) || !strings.HasPrefix(s, strings.TrimSuffix(got, cutMark)) {
			t.Errorf("Clip of %q at %d: %q", s, limit, got)
		}
	})
}
