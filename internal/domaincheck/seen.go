package domaincheck

import (
	"cmp"
	"context"
	"slices"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/ledger"
)

const (
	// seenDays is how many days of the ledger are looked at.
	seenDays = 30
	// maxSeen is how many keys of the ledger are looked at. A domain signs with a few.
	maxSeen = 20
)

// Signer is a key with which the domain, or a domain below it, signs.
type Signer struct {
	Domain   dns.Name // d=
	Selector dns.Name // s=
}

// Seen returns the keys whose signatures passed here on the last of the last days on which mail of the
// domain had such a signature, the strongest first, at most maxSeen. Older keys may have been replaced.
// Only what passed counts: anybody can write a selector into a message.
func Seen(ctx context.Context, s ledger.Store, domain dns.Name, today ledger.Day) ([]Signer, error) {
	owner := cmp.Or(suffix.Owner(domain), domain)
	passed := map[Signer]int64{}
	var last ledger.Day
	for row, err := range s.Rows(ctx, ledger.Filter{From: today - seenDays + 1, To: today, Domain: owner}) {
		if err != nil {
			return nil, err
		}
		for _, signer := range row.Signers {
			selector, _ := dns.ParseName(signer.Selector) // "" if it is not a name
			if signer.Pass == 0 || signer.Selector == ledger.Others || selector == "" || !signer.Domain.Under(domain) {
				continue
			}
			if row.Day > last { // rows come in the order of their days
				clear(passed)
				last = row.Day
			}
			passed[Signer{signer.Domain, selector}] += signer.Pass
		}
	}
	var all []Signer
	for k := range passed {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Signer) int {
		return cmp.Or(cmp.Compare(passed[b], passed[a]), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Selector, b.Selector))
	})
	return all[:min(len(all), maxSeen)], nil
}
