// Package senders says of author domains how much mail they send, what of it passes and by what, and what
// stopped working for them, with the text that one can mail to their postmasters. It reads the ledger
// through its interface and opens nothing.
package senders

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/ledger"
)

const (
	// DefaultLimit is how many senders are listed.
	DefaultLimit = 50
	// MaxLimit is the most that may be asked for: for each, the store is asked for its days and its networks.
	MaxLimit = 1000
	// maxNetworks is how many networks of a sender are listed. A domain may have that many, and each of its
	// subdomains too.
	maxNetworks = ledger.MaxSources
)

// Options are what is asked for.
type Options struct {
	Ledger ledger.Store
	// Domain selects one registered domain; "" lists those with the most messages.
	Domain dns.Name
	// Broken lists only senders for whom something stopped working, also if that is over since.
	Broken bool
	Days   int // at least 1
	Limit  int // at least 1
	Now    time.Time
	// Organization and Contact sign the mails to postmasters; either may be "".
	Organization, Contact string
}

// List is the answer of "sekimori senders".
type List struct {
	// From and To are the first and the last day, in UTC, such as 2026-11-28.
	From    string   `json:"from"`
	To      string   `json:"to"`
	Broken  bool     `json:"broken"` // only senders for whom something stopped working were asked for
	Senders []Sender `json:"senders"`
	// More says that there are more senders than are listed.
	More bool `json:"more,omitempty"`
}

// Sender is an author's registered domain.
type Sender struct {
	Domain dns.Name `json:"domain"`
	ledger.Counts
	Policy   dmarc.Policy `json:"policy"` // published last; "" if there is no DMARC record
	Days     int          `json:"days"`   // with at least one message
	First    time.Time    `json:"first"`  // the first message of these days
	Last     time.Time    `json:"last"`
	Example  string       `json:"example,omitempty"` // the explanation id of a message that failed
	Signers  []Signer     `json:"signers"`           // the strongest first
	Networks []Network    `json:"networks"`          // from which mail of it passed: those seen on most days first
	Trouble  []Trouble    `json:"trouble,omitempty"`
	// ByDay has the days with mail, if one domain was asked for.
	ByDay []Day `json:"by_day,omitempty"`
}

// Signer is a key of the domain.
type Signer struct {
	ledger.Signer
	First string `json:"first"` // the first and the last day on which it signed
	Last  string `json:"last"`
}

// Network is where mail of an author domain comes from.
type Network struct {
	Domain  dns.Name     `json:"domain"` // as it stood in From
	Network netip.Prefix `json:"network"`
	Days    int          `json:"days"` // of the last 60, on which mail passed
	Last    string       `json:"last"` // the last of them
}

// Day is one day of a domain.
type Day struct {
	Day string `json:"day"`
	ledger.Counts
	Policy dmarc.Policy `json:"policy"`
}

// Trouble is what stopped working, and the mail about it.
type Trouble struct {
	ledger.Breakage
	Mail Mail `json:"mail"`
}

// ParseDomain returns the registered domain of a domain that a person typed.
func ParseDomain(text string) (dns.Name, error) {
	name, err := dns.ParseHostname(text)
	if err != nil {
		return "", fmt.Errorf("%q is not a domain with two labels or more", text)
	}
	return cmp.Or(suffix.Owner(name), name), nil
}

// Find returns the senders that are asked for.
func Find(ctx context.Context, o Options) (*List, error) {
	today := ledger.DayOf(o.Now)
	days := ledger.Filter{From: today - ledger.Day(o.Days) + 1, To: today, Domain: o.Domain}
	l := &List{From: days.From.Time().Format(time.DateOnly), To: today.Time().Format(time.DateOnly), Broken: o.Broken, Senders: []Sender{}}
	broken, err := o.Ledger.Breakages(ctx, days.From.Time())
	if err != nil {
		return nil, err
	}
	trouble := map[dns.Name][]ledger.Breakage{}
	for _, b := range broken {
		trouble[b.Domain] = append(trouble[b.Domain], b)
	}
	sums, more, err := sums(ctx, &o, days, trouble)
	if err != nil {
		return nil, err
	}
	l.More = more
	for i := range sums {
		s, err := sender(ctx, &o, days, &sums[i], trouble[sums[i].Domain])
		if err != nil {
			return nil, err
		}
		l.Senders = append(l.Senders, s)
	}
	return l, nil
}

// sums returns the sums of the senders that are asked for, at most o.Limit.
func sums(ctx context.Context, o *Options, days ledger.Filter, trouble map[dns.Name][]ledger.Breakage) (all []ledger.Sum, more bool, err error) {
	read := func(f ledger.Filter, limit int) error {
		for s, err := range o.Ledger.Sums(ctx, f, ledger.ByMessages, limit) {
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		return nil
	}
	if !o.Broken {
		err = read(days, o.Limit+1)
		more = len(all) > o.Limit
		return all[:min(len(all), o.Limit)], more, err
	}
	for domain := range trouble {
		f := days
		if o.Domain != "" && o.Domain != domain {
			continue
		}
		f.Domain = domain
		before := len(all)
		if err := read(f, 1); err != nil {
			return nil, false, err
		}
		if len(all) == before { // the ledger dropped it, or it sends nothing any more
			all = append(all, ledger.Sum{Domain: domain})
		}
	}
	slices.SortFunc(all, func(a, b ledger.Sum) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Domain, b.Domain))
	})
	more = len(all) > o.Limit
	return all[:min(len(all), o.Limit)], more, nil
}

// sender reads the details of one sender.
func sender(ctx context.Context, o *Options, days ledger.Filter, sum *ledger.Sum, trouble []ledger.Breakage) (Sender, error) {
	s := Sender{Domain: sum.Domain, Counts: sum.Counts, Policy: sum.Policy, Days: sum.Days, First: time.Unix(sum.First, 0).UTC(), Last: time.Unix(sum.Last, 0).UTC(),
		Signers: []Signer{}, Networks: []Network{}}
	days.Domain = sum.Domain
	for r, err := range o.Ledger.Rows(ctx, days) {
		if err != nil {
			return s, err
		}
		s.add(&r, o.Domain != "")
	}
	slices.SortFunc(s.Signers, func(a, b Signer) int {
		return cmp.Or(cmp.Compare(b.Pass, a.Pass), cmp.Compare(b.Fail, a.Fail), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Selector, b.Selector))
	})
	sources, err := o.Ledger.Sources(ctx, sum.Domain, days.To-ledger.KeepSources+1)
	if err != nil {
		return s, err
	}
	for i := range sources {
		x := &sources[i]
		s.Networks = append(s.Networks, Network{x.Domain, x.Network, x.Within(days.To, ledger.KeepSources), x.Last.Time().Format(time.DateOnly)})
	}
	slices.SortStableFunc(s.Networks, func(a, b Network) int {
		return cmp.Or(cmp.Compare(b.Days, a.Days), cmp.Compare(a.Domain, b.Domain), a.Network.Compare(b.Network))
	})
	s.Networks = s.Networks[:min(len(s.Networks), maxNetworks)]
	for _, b := range trouble {
		s.Trouble = append(s.Trouble, Trouble{b, mailAbout(&b, s.Policy, o.Organization, o.Contact)})
	}
	return s, nil
}

// add adds a row. Rows come in ascending order of their days.
func (s *Sender) add(r *ledger.Row, byDay bool) {
	day := r.Day.Time().Format(time.DateOnly)
	if r.Example != "" {
		s.Example = r.Example
	}
	for _, x := range r.Signers {
		i := slices.IndexFunc(s.Signers, func(o Signer) bool { return o.Domain == x.Domain && o.Selector == x.Selector })
		if i < 0 {
			s.Signers = append(s.Signers, Signer{x, day, day})
			continue
		}
		k := &s.Signers[i]
		k.Pass, k.Fail, k.Last = k.Pass+x.Pass, k.Fail+x.Fail, day
	}
	if !byDay {
		return
	}
	if n := len(s.ByDay); n > 0 && s.ByDay[n-1].Day == day { // of another group of hosts
		s.ByDay[n-1].Add(r.Counts)
		return
	}
	s.ByDay = append(s.ByDay, Day{day, r.Counts, r.Policy})
}
