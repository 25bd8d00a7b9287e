package learn

import (
	"context"
	"time"

	"sekimori/internal/ledger"
)

// maxSearched is how many domains are looked at for breakages: those that wrote most.
const maxSearched = 2000

// leastSearched is how many messages a domain must have in the days that are compared.
const leastSearched = 200

// search looks for breakages, writes down those that are new or over, and says so in the log.
func (k *Keeper) search(ctx context.Context, now time.Time) error {
	known, err := k.o.Store.Breakages(ctx, now)
	if err != nil {
		return err
	}
	found, err := k.find(ctx, now)
	if err != nil {
		return err
	}
	type key struct {
		domain, subject string
		kind            ledger.Kind
	}
	keyOf := func(b *ledger.Breakage) key { return key{string(b.Domain), b.Subject, b.Kind} }
	before := map[key]ledger.Breakage{}
	for _, b := range known {
		before[keyOf(&b)] = b
	}
	count := map[ledger.Kind]int{}
	for _, b := range found {
		count[b.Kind]++
		old, ok := before[keyOf(&b)]
		delete(before, keyOf(&b))
		if ok {
			b.First = old.First
		} else {
			k.o.Log.Warn("a sender's mail stopped to authenticate", "domain", b.Domain, "kind", b.Kind, "subject", b.Subject, "evidence", b.Evidence, "id", b.Example)
		}
		if err := k.o.Store.SetBreakage(ctx, b); err != nil {
			return err
		}
	}
	for _, b := range before {
		b.Ended = now.UTC()
		k.o.Log.Info("a sender's mail authenticates again", "domain", b.Domain, "kind", b.Kind, "subject", b.Subject, "since", b.First)
		if err := k.o.Store.SetBreakage(ctx, b); err != nil {
			return err
		}
	}
	k.broken.Store(&count)
	return nil
}

// find looks at the domains that wrote most.
func (k *Keeper) find(ctx context.Context, now time.Time) (found []ledger.Breakage, err error) {
	today := ledger.DayOf(now)
	days := ledger.Filter{From: today - ledger.BreakageDays - 1, To: today}
	var domains []ledger.Sum
	for sum, err := range k.o.Store.Sums(ctx, days, ledger.ByMessages, maxSearched) {
		if err != nil {
			return nil, err
		}
		if sum.Messages >= leastSearched && sum.Pass > 0 {
			domains = append(domains, sum)
		}
	}
	for i := range domains {
		f := days
		f.Domain = domains[i].Domain
		var rows []ledger.Row
		for r, err := range k.o.Store.Rows(ctx, f) {
			if err != nil {
				return nil, err
			}
			rows = append(rows, r)
		}
		found = append(found, ledger.FindBreakages(rows, now)...)
	}
	return found, nil
}
