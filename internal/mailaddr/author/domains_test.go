package author

import (
	"errors"
	"strings"
	"testing"

	"sekimori/internal/dns"
)

// TestJoins checks what a program that removes white space from a domain may see: a longer domain that may
// exist, or only the first one.
func TestJoins(t *testing.T) {
	// longest is a domain that becomes as long as a name may be with ".test" after it.
	longest := strings.Repeat("a.", (dns.MaxNameLen-len(".test"))/2)
	longest = longest[:dns.MaxNameLen-len(".test")-1] + "b"
	for _, tt := range []struct {
		why, domain, rest string
		want              bool
	}{
		{"nothing follows", "a.example", "", false},
		{"a top-level domain in the next word", "a.example", " .test", true},
		{"the same after a tab", "a.example", "\t.TEST", true},
		{"a word that makes no top-level domain", "a.example", " Foo", false},
		{"only the second word makes one", "a.example", " b .test", true},
		{"a final dot", "a.example", " .test.", true},
		{"a word that ends the name", "a.example", " .test?", true},
		{"a word that begins with an octet that no name has", "a.example", " ?.test", false},
		{"the same, and another word", "a.example", " ? .test", false},
		{"a word with such an octet, and another word", "a.example", " x?y .test", false},
		{"another octet than those of words and white space", "a.example", " x> .test", false},
		{"the longest name", longest, " .test", true},
		{"one octet more", longest + "c", " .test", false},
	} {
		if got := joins(tt.domain, tt.rest); got != tt.want {
			t.Errorf("%s: %t", tt.why, got)
		}
	}
}

// TestWithoutComments has parentheses at every place where they may stand.
func TestWithoutComments(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", "(a)b": " b", "a(b)": "a ", "a(b(c)d)e": "a  e", `"(a)"b`: `"(a)"b`, `("a)b"`: ` b"`, "a)b": "a)b", "a(b": "a", `"a"(b)`: `"a" `,
	} {
		if got := withoutComments(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestLegacyCheck has fields beside whose double-byte text a second author could stand.
func TestLegacyCheck(t *testing.T) {
	for _, tt := range []struct{ masked, plain, want string }{
		{"\xff\xff <a@b.example>", "4X <a@b.example>", ""},
		{"x", "x", ""},
		{"\xff\xff a@b.example@c.example", "4X a@b.example@c.example", `several "@" beside unencoded text`},
		{"\xff\xff a@@b.example", "4X a@@b.example", `several "@" beside unencoded text`},
		{"@\xff\xff <a@b.example>", "@4X <a@b.example>", `several "@" beside unencoded text`},
		{"\xff\xff <a@b\xff.example>", "4X <a@b\xff.example>", "internationalized domain beside unencoded text"},
		{"\xff\xff =? <a@b.example>", "4X =? <a@b.example>", "encoded word beside unencoded text"},
		{"\xff\xff <a@b.example>=?", "4X <a@b.example>=?", "encoded word beside unencoded text"},
		{"\xff\xff = ? <a@b.example>=", "4X = ? <a@b.example>=", ""},
		{"\xff\xff.c <a@b.example>", "4\x00.c <a@b.example>", "unencoded text whose octets spell an address"},
		{"\xff\xffc <a@b.example>", "4\x00c <a@b.example>", ""},
	} {
		lt := legacyText{tt.masked, []byte(tt.plain)}
		got := ""
		var refused *Error
		if errors.As(lt.check(), &refused) {
			got = refused.Detail
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.masked, got, tt.want)
		}
	}
}
