package mailaddr

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/testkit/octets"
)

// TestDamaged says what ParsePath makes of paths that are damaged.
func TestDamaged(t *testing.T) {
	octets.Golden(t, "testdata/damaged.txt", []string{
		`<@a.example,@[IPv6:1::2]:"a\"b@"@B.example.>`, ` <u+v@[192.0.2.1]> `, "<用@例え.jp>", `"a b"@c-d.example`, "<@a,b:x@y>", "<postmaster>",
	}, func(s string) string {
		p, err := ParsePath(s)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s (%q at %q, %q)", p, p.Local, p.Domain, p.DomainRaw)
	})
}

// TestPathBound has a path at the bound, one octet below it and one above it.
func TestPathBound(t *testing.T) {
	for n, want := range map[int]error{MaxPathLen - 1: nil, MaxPathLen: nil, MaxPathLen + 1: ErrPathTooLong} {
		if _, err := ParsePath("<" + strings.Repeat("a", n-len("<@b.example>")) + "@b.example>"); !errors.Is(err, want) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

// TestOctets compares the octets that a local part, a domain and a literal may have with the grammar.
func TestOctets(t *testing.T) {
	for c := range 256 {
		s := string([]byte{byte(c)})
		letter, digit := 'a' <= c|0x20 && c|0x20 <= 'z' && c < 0x80, '0' <= c && c <= '9'
		if got, want := IsAtom(byte(c)), letter || digit || c >= 0x80 || strings.Contains("!#$%&'*+-/=?^_`{|}~.", s); got != want {
			t.Errorf("atom %q: %t", s, got)
		}
		if _, err := ParseDomain("a" + s + "b"); (err == nil) != (letter || digit || strings.Contains("-_.", s)) {
			t.Errorf("domain a%qb: %v", s, err)
		}
		if got, want := isLiteral("["+s+"]"), letter || digit || strings.Contains(".:-", s); got != want {
			t.Errorf("literal [%q]: %t", s, got)
		}
		// A local part is shown so that it can be read again, and nothing in it can move the cursor.
		shown := safeLocal("a" + s)
		plain := IsAtom(byte(c)) && c < 0x80
		if plain != (shown == "a"+s) || strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("local part a%q is shown as %q", s, shown)
		}
	}
	for r, want := range map[rune]string{0x7e: "~", 0x7f: `"\x{7F}"`, 0x80: `"\x{80}"`, 0x85: `"\x{85}"`, 0xe9: `"\x{E9}"`, ' ': `" "`, 0x1f: `"\x{1F}"`, '"': `"\""`, '\\': `"\\"`} {
		if got := safeLocal(string(r)); got != want {
			t.Errorf("%U is shown as %s, want %s", r, got, want)
		}
	}
	for s, want := range map[string]bool{"": false, "[": false, "]": false, "[]": false, "[1]": true, "1]": false, "[1": false, "a1]": false, "[1a": false} {
		if got := isLiteral(s); got != want {
			t.Errorf("literal %q: %t", s, got)
		}
	}
}
