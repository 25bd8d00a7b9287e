package author

import (
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
