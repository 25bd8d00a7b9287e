package postgres

import (
	"strings"
	"testing"
	"unicode/utf8"

	"sekimori/internal/dns"
)

func TestEscape(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "shop.example": "shop.example", "日本語": "日本語", "a\x00b": `a\x00b`, `a\x00b`: `a\\x00b`, "\xff\xfe": `\xff\xfe`, `\`: `\\`,
		"\xed\xa0\x80": `\xed\xa0\x80`, "\ufffd": "\ufffd",
	} {
		if got := escape(s); got != want {
			t.Errorf("escape(%q) = %q, want %q", s, got, want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", `\`, `\x00`, "\xff\\", "日\xe6"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := escape(s)
		if !utf8.ValidString(e) || strings.Contains(e, "\x00") {
			t.Errorf("escape(%q) = %q, which PostgreSQL does not take", s, e)
		}
		if got := unescape(e); got != s {
			t.Errorf("unescape(escape(%q)) = %q", s, got)
		}
		unescape(s) // what somebody else wrote into the database
		if n := name(dns.Name(s)); len(n) > maxName || !utf8.ValidString(n) {
			t.Errorf("name(%q) = %q", s, n)
		}
	})
}

// TestBoundName checks a domain at the limit and over it.
func TestBoundName(t *testing.T) {
	long := strings.Repeat("a", maxName)
	if got := name(dns.Name(long)); got != long {
		t.Errorf("%d octets became %d", len(long), len(got))
	}
	for _, s := range []string{long + "b", strings.Repeat("é", maxName), strings.Repeat("\xff", maxName)} {
		if got := name(dns.Name(s)); len(got) > maxName || len(got) < maxName-4 || !utf8.ValidString(got) {
			t.Errorf("%.20q became %d octets", s, len(got))
		}
	}
}
