// Package suffix finds the registered domain of a name by the public suffix
// list (publicsuffix.org) that is built into the program.
//
// It serves counting, the sharing of slots, and the guess whether two names
// have one owner. It is not DMARC's Organizational Domain, which comes from DNS
// or from a list that the operator keeps up to date (package dmarc).
package suffix

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"sekimori/internal/dns"
)

// Section is the part of the list that a public suffix stands in.
type Section string

// The sections.
const (
	ICANN    Section = "icann"    // registries sell names below it
	Private  Section = "private"  // its owner gives names below it to customers or to anybody
	Unlisted Section = "unlisted" // a top-level domain that the list does not have
)

// Of returns the public suffix of n, which may be n itself, and its section.
func Of(n dns.Name) (dns.Name, Section) {
	suffix, icann := publicsuffix.PublicSuffix(string(n))
	switch {
	case icann:
		return dns.Name(suffix), ICANN
	case strings.Contains(suffix, "."):
		return dns.Name(suffix), Private
	}
	return dns.Name(suffix), Unlisted
}

// Registered returns the public suffix of n and one label more. It returns ""
// if n is a public suffix itself.
func Registered(n dns.Name) dns.Name {
	suffix, _ := Of(n)
	return below(n, suffix)
}

// Owner returns the domain whose owner decides which names like n there are:
// the registered domain, or the public suffix itself if it is in the private
// section. It returns "" if n is a public suffix of another section.
func Owner(n dns.Name) dns.Name {
	suffix, section := Of(n)
	if section == Private {
		return suffix
	}
	return below(n, suffix)
}

// below returns suffix and one label more of n, or "" if n has no more labels.
func below(n, suffix dns.Name) dns.Name {
	if len(n) <= len(suffix) {
		return ""
	}
	label := strings.LastIndexByte(string(n[:len(n)-len(suffix)-1]), '.')
	return n[label+1:]
}

// IsPublic reports whether n is a public suffix.
func IsPublic(n dns.Name) bool {
	suffix, _ := Of(n)
	return suffix == n
}

// IsTopLevel reports whether the list has label as a top-level domain.
func IsTopLevel(label string) bool {
	_, section := Of(dns.Name("a." + label))
	return section == ICANN
}
