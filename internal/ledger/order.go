package ledger

import (
	"cmp"
	"slices"
)

// Compare orders rows as a [Delta] wants them.
func (r *Row) Compare(o *Row) int {
	return cmp.Or(cmp.Compare(r.Day, o.Day), cmp.Compare(r.Domain, o.Domain), cmp.Compare(r.Group, o.Group))
}

// Compare orders the days of author domains as a [Delta] wants them.
func (a *Author) Compare(o *Author) int {
	return cmp.Or(cmp.Compare(a.Day, o.Day), cmp.Compare(a.Domain, o.Domain))
}

// Compare orders sources as a [Delta] wants them.
func (s *Source) Compare(o *Source) int {
	return cmp.Or(cmp.Compare(s.Domain, o.Domain), cmp.Compare(NetworkText(s.Network), NetworkText(o.Network)))
}

// Compare orders totals as a [Delta] wants them.
func (t *Total) Compare(o *Total) int {
	return cmp.Or(cmp.Compare(t.Day, o.Day), cmp.Compare(t.Group, o.Group), cmp.Compare(t.SPF, o.SPF), cmp.Compare(t.DKIM, o.DKIM),
		cmp.Compare(t.Policy, o.Policy), cmp.Compare(t.DMARC, o.DMARC), cmp.Compare(t.Applied, o.Applied), cmp.Compare(t.Override, o.Override))
}

// addSigner adds the counts of a signer to the list.
func addSigner(all []Signer, s Signer) []Signer {
	for i := range all {
		if all[i].Domain == s.Domain && all[i].Selector == s.Selector {
			all[i].Pass, all[i].Fail = all[i].Pass+s.Pass, all[i].Fail+s.Fail
			return all
		}
	}
	return append(all, s)
}

// strongest returns the MaxSigners signers that passed most often, and one entry for all others. So
// a forger who makes up selectors cannot push out those of the domain.
func strongest(all []Signer) []Signer {
	slices.SortFunc(all, func(a, b Signer) int {
		rest := func(s Signer) int {
			if s.Selector == Others {
				return 1
			}
			return 0
		}
		return cmp.Or(rest(a)-rest(b), cmp.Compare(b.Pass, a.Pass), cmp.Compare(b.Fail, a.Fail), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Selector, b.Selector))
	})
	if len(all) <= MaxSigners {
		return all
	}
	others := Signer{Selector: Others}
	for _, s := range all[MaxSigners:] {
		others.Pass, others.Fail = others.Pass+s.Pass, others.Fail+s.Fail
	}
	return append(all[:MaxSigners], others)
}

// addSending adds the counts of a network to the list.
func addSending(all []Sending, s Sending) []Sending {
	for i := range all {
		if x := &all[i]; x.Network == s.Network {
			x.Pass, x.Missed, x.Signed, x.Record = x.Pass+s.Pass, x.Missed+s.Missed, x.Signed+s.Signed, s.Record
			return all
		}
	}
	return append(all, s)
}

// mostSending returns the MaxSending networks that are most likely the author's: those with the most messages
// that passed or were signed, and then those with the most others.
func mostSending(all []Sending) []Sending {
	slices.SortFunc(all, func(a, b Sending) int {
		return cmp.Or(cmp.Compare(b.Pass+b.Signed, a.Pass+a.Signed), cmp.Compare(b.Missed, a.Missed), a.Network.Compare(b.Network))
	})
	return all[:min(len(all), MaxSending)]
}
