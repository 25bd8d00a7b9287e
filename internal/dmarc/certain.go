package dmarc

import (
	"cmp"
	"slices"

	"sekimori/internal/dns"
)

// If a lookup of a tree walk failed, the Organizational Domain is not known. Even
// then it may be certain whether two domains have the same one: both tree walks end
// with the same names, such as the top-level domain, and a record at such a name
// changes both Organizational Domains alike. In that case the failed lookup must not
// lead to a temporary error. Otherwise, while the servers of a top-level domain
// fail, all mail of the domains below it would get a temporary error.

// maxSupposed is the largest number of failed names for which sameOrganization
// tries all records of the list "supposed". With more failed names the answer is not
// certain.
const maxSupposed = 3

// supposed lists what the record at a name can be, as far as it makes a difference
// to a tree walk. nil means that the name has no record.
var supposed = [...]*Record{nil, {PSD: PSDUnknown}, {PSD: PSDNo}, {PSD: PSDYes}}

// sameOrganization reports whether a and b have the same Organizational Domain. p
// and q are the outcomes of their tree walks. The answer is certain if it is the
// same for all records that there may be at the names whose lookup failed.
func sameOrganization(a, b dns.Name, p, q path) (same, certain bool) {
	failed := slices.Clone(p.failed)
	for _, name := range q.failed {
		if !slices.Contains(failed, name) {
			failed = append(failed, name)
		}
	}
	if len(failed) > maxSupposed {
		return false, false
	}
	held := make(map[dns.Name]*Record, len(failed))
	compare := func() bool {
		return organizationalDomain(a, p.suppose(held)) == organizationalDomain(b, q.suppose(held))
	}
	same, certain = compare(), true
	var try func(rest []dns.Name)
	try = func(rest []dns.Name) {
		if len(rest) == 0 {
			certain = certain && compare() == same
			return
		}
		for _, held[rest[0]] = range supposed {
			try(rest[1:])
		}
	}
	try(failed)
	return same && certain, certain
}

// suppose returns the records that the tree walk would have found if its failed
// lookups had given the records in the map "held". nil in this map means that the
// name has no record.
func (p path) suppose(held map[dns.Name]*Record) []published {
	found := slices.Clone(p.found)
	for _, name := range p.failed {
		if record := held[name]; record != nil {
			found = append(found, published{name, record})
		}
	}
	slices.SortStableFunc(found, func(a, b published) int { return cmp.Compare(b.domain.Labels(), a.domain.Labels()) })
	return found
}
