package stats

import (
	"cmp"
	"context"
	"slices"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

// figures makes the tables of the figures: reasons and countries.
func (m *Month) figures(ctx context.Context, s ledger.Store, f ledger.Filter) error {
	reasons, countries := map[[2]string]int64{}, map[string]*Country{}
	for x, err := range s.Figures(ctx, f) {
		if err != nil {
			return err
		}
		switch x.Kind {
		case ledger.ByReason:
			reasons[[2]string{x.Result, x.Word}] += x.Messages
		case ledger.ByCountry:
			c := countries[x.Word]
			if c == nil {
				c = &Country{Country: x.Word}
				countries[x.Word] = c
			}
			c.Messages += x.Messages
			c.add(x.Result, x.Messages)
		}
	}
	m.Reasons, m.Countries = []Reason{}, []Country{}
	for k, n := range reasons {
		m.Reasons = append(m.Reasons, Reason{k[0], k[1], m.part(n)})
	}
	slices.SortFunc(m.Reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(rank(a.Applied), rank(b.Applied)), cmp.Compare(a.Applied, b.Applied), cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Reason, b.Reason))
	})
	for _, c := range countries {
		c.Share = share(c.Messages, m.Messages)
		m.Countries = append(m.Countries, *c)
	}
	slices.SortFunc(m.Countries, func(a, b Country) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Country, b.Country))
	})
	return nil
}

// rank returns the place of an action in the tables. Unknown ones come last.
func rank(applied string) int {
	if i := slices.Index(appliedWords, applied); i >= 0 {
		return i
	}
	return len(appliedWords)
}

// domains makes the table of the classes.
func (m *Month) domains(ctx context.Context, s ledger.Store, f ledger.Filter, suffixes []dns.Name) error {
	classes, all, other := make([]Class, len(suffixes)), Class{Class: ClassAll}, Class{Class: ClassOther}
	for i, suffix := range suffixes {
		classes[i].Class = string(suffix)
	}
	for sum, err := range s.Sums(ctx, f, ledger.ByDomain, 0) {
		if err != nil {
			return err
		}
		in := &other
		if i := classOf(sum.Domain, suffixes); i >= 0 {
			in = &classes[i]
		}
		in.add(&sum)
		all.add(&sum)
	}
	if len(suffixes) > 0 {
		classes = append(classes, other)
	}
	classes = append(classes, all)
	m.Classes = classes
	for i := range m.Classes {
		m.Classes[i].DMARCShare = share(m.Classes[i].DMARC, m.Classes[i].Domains)
	}
	dropped, err := s.Dropped(ctx, f)
	for _, d := range dropped {
		m.Dropped += d.Messages
	}
	return err
}

// classOf returns the place of the longest suffix that a domain is below, or -1.
func classOf(domain dns.Name, suffixes []dns.Name) int {
	best := -1
	for i, suffix := range suffixes {
		if domain != suffix && domain.Under(suffix) && (best < 0 || len(suffix) > len(suffixes[best])) {
			best = i
		}
	}
	return best
}

func (c *Class) add(s *ledger.Sum) {
	c.Domains++
	switch s.Policy {
	case dmarc.PolicyNone:
		c.None++
	case dmarc.PolicyQuarantine:
		c.Quarantine++
	case dmarc.PolicyReject:
		c.Reject++
	default:
		c.Absent++
	}
	c.DMARC = c.None + c.Quarantine + c.Reject
	c.Messages, c.Pass, c.Fail = c.Messages+s.Messages, c.Pass+s.Pass, c.Fail+s.Fail
	c.Rejected, c.Quarantined = c.Rejected+s.Rejected, c.Quarantined+s.Quarantined
}
