package dmarc

import (
	"cmp"
	"slices"

	"sekimori/internal/dns"
)

// An Organizational Domain is not known where a name of the walk to it could not
// be asked. That two domains have the same one may be certain all the same: most
// walks end at names that both go over, such as the top-level domain, and what
// these hold moves both Organizational Domains alike. Such an answer is not
// missing, and a message must not be put off for it: a top-level domain whose
// servers fail for good would keep all mail of its domains away.

// maxSupposed bounds the failed names whose content is supposed.
const maxSupposed = 3

// supposed is what may be found at a name, for all that a walk makes of it.
var supposed = [...]*Record{nil, {PSD: PSDUnknown}, {PSD: PSDNo}, {PSD: PSDYes}}

// sameOrganization compares the Organizational Domains of a and b after their
// walks p and q. It is certain if the answer is the same whatever the names that
// failed hold.
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

// suppose returns what the walk would have found if the names that failed held
// these records, nil for none.
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
