// Package suffix finds the registered domain of a name. It uses the public suffix list
// (publicsuffix.org) that is built into the program.
//
// Other packages use the result to decide which names share lookup slots, a counter in the metrics
// or an entry in the list of forwarders. They also use it to decide whether a configured domain is
// a public suffix, and whether a word is a top-level domain. The result is not DMARC's
// Organizational Domain, which comes from DNS or from a list that the operator keeps up to date
// (package dmarc).
package suffix

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"sekimori/internal/dns"
)

// Section is the part of the list that contains a public suffix.
type Section string

// The sections.
const (
	ICANN    Section = "icann"    // a registry sells names below the suffix
	Private  Section = "private"  // the owner of the suffix gives names below it to customers or to anybody
	Unlisted Section = "unlisted" // a top-level domain that is not in the list
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

// Registered returns the public suffix of n with one more label. It returns "" if n is a public
// suffix itself.
func Registered(n dns.Name) dns.Name {
	suffix, _ := Of(n)
	return below(n, suffix)
}

// Owner returns the domain whose owner decides whether a name such as n exists. This is the
// registered domain, or the public suffix itself if it is in the private section. Owner returns ""
// if n is a public suffix of another section.
func Owner(n dns.Name) dns.Name {
	suffix, section := Of(n)
	if section == Private {
		return suffix
	}
	return below(n, suffix)
}

// below returns the name that consists of "suffix" and one more label of n, or "" if n has no more
// labels.
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

// IsTopLevel reports whether label is a top-level domain in the list.
func IsTopLevel(label string) bool {
	_, section := Of(dns.Name("a." + label))
	return section == ICANN
}
