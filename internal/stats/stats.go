// Package stats makes the monthly statistics of what the ledger has: the results of SPF, DKIM and DMARC,
// the policies of author domains, what was done with messages, and from where they came. It has the model
// of a month and its texts: plain text, CSV, and a page with charts.
package stats

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

// Month is what was counted in a month. Shares are between 0 and 1. Only messages count that were evaluated
// and not put off, and of which a recipient agreed.
type Month struct {
	Month    string `json:"month"` // such as 2026-11
	From     string `json:"from"`  // the first and the last day that count, in UTC
	To       string `json:"to"`
	Whole    bool   `json:"whole"` // whether these are all days of the month, and the last one is over
	Group    string `json:"group"` // only hosts of this ledger.group; "" for all
	Messages int64  `json:"messages"`
	// Unauthenticated have neither an SPF record of the envelope sender's domain nor a signature, so nothing
	// could authenticate them.
	Unauthenticated Part `json:"unauthenticated"`
	// NothingPassed has no pass of SPF and no signature that passed.
	NothingPassed Part     `json:"nothing_passed"`
	SPF           []Count  `json:"spf"`      // the seven results of RFC 7208 section 2.6, in its order
	DKIM          []Count  `json:"dkim"`     // the best result of a message's signatures
	DMARC         []Count  `json:"dmarc"`    // the results
	Policies      []Policy `json:"policies"` // messages by the published policy of the author
	Applied       []Count  `json:"applied"`  // what was done: reject, quarantine, tag, accept
	Reasons       []Reason `json:"reasons"`  // the same by the reason of the verdict
	// Overrides are why the disposition differed from the published policy (RFC 9990 section 3.1.1.6).
	Overrides []Count `json:"overrides"`
	// Classes are the author domains, by suffix; then "other" if there are suffixes; then "all".
	Classes   []Class   `json:"classes"`
	Countries []Country `json:"countries"` // of the clients, those with the most messages first; empty without geo.country
	Days      []Day     `json:"days"`      // every day, also one without messages
	// Dropped are messages whose author domain is missing in the classes, because there was no room
	// (ledger.max_domains).
	Dropped int64 `json:"dropped"`
}

// Part is a number of messages, and their share of all messages.
type Part struct {
	Messages int64   `json:"messages"`
	Share    float64 `json:"share"`
}

// Count is the number of messages with a result.
type Count struct {
	Word string `json:"word"`
	Part
}

// Reason is the number of messages with which something was done for a reason.
type Reason struct {
	Applied string `json:"applied"`
	Reason  string `json:"reason"`
	Part
}

// Policy has the messages of authors that publish a policy.
type Policy struct {
	Policy string `json:"policy"` // reject, quarantine, none; absent without a record, or if it is not known
	Part
	Pass        int64 `json:"pass"` // DMARC passes
	Fail        int64 `json:"fail"`
	Other       int64 `json:"other"` // every other result
	Rejected    int64 `json:"rejected"`
	Quarantined int64 `json:"quarantined"`
}

// Class has the author domains of a class: registered domains that wrote in the month, and that publish
// something about mail. The policy is the one published last.
type Class struct {
	Class       string  `json:"class"` // a suffix, "other" or "all"
	Domains     int64   `json:"domains"`
	DMARC       int64   `json:"dmarc"` // with a DMARC record
	DMARCShare  float64 `json:"dmarc_share"`
	None        int64   `json:"none"` // by policy
	Quarantine  int64   `json:"quarantine"`
	Reject      int64   `json:"reject"`
	Absent      int64   `json:"absent"`
	Messages    int64   `json:"messages"` // of these domains
	Pass        int64   `json:"pass"`     // an aligned identifier passed
	Fail        int64   `json:"fail"`
	Rejected    int64   `json:"rejected"`
	Quarantined int64   `json:"quarantined"`
}

// Standings are numbers of messages by how they authenticate. Their sum is the number of messages.
type Standings struct {
	Pass    int64 `json:"pass"`    // DMARC passes
	Fail    int64 `json:"fail"`    // DMARC fails, and something could authenticate them
	Other   int64 `json:"other"`   // no DMARC record, or the result is not known
	Nothing int64 `json:"nothing"` // nothing could authenticate them
}

// Country has the messages of the clients in a country.
type Country struct {
	Country string `json:"country"` // the code of ISO 3166, or ZZ if it is not known
	Part
	Standings
}

// Day has the messages of a day.
type Day struct {
	Day      string `json:"day"` // such as 2026-11-30
	Messages int64  `json:"messages"`
	Standings
	Rejected    int64 `json:"rejected"`
	Quarantined int64 `json:"quarantined"`
}

// The names of the last two classes.
const (
	ClassOther = "other"
	ClassAll   = "all"
)

// NoPolicy is the word for the policy of authors without a record.
const NoPolicy = "absent"

// Options say what is counted.
type Options struct {
	Month   time.Time // a time in the month, see [ParseMonth]
	Group   string    // only hosts of this group; "" for all
	Classes []dns.Name
	Now     time.Time
}

// ParseMonth reads the name of a month: "2026-11", "this" or "last".
func ParseMonth(text string, now time.Time) (time.Time, error) {
	first := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	switch text {
	case "this":
		return first, nil
	case "last":
		return first.AddDate(0, -1, 0), nil
	}
	month, err := time.Parse("2006-01", text)
	switch {
	case err != nil:
		return month, fmt.Errorf("%q is not a month; write one such as 2026-11, or this or last", text)
	case month.After(first):
		return month, fmt.Errorf("%s has not begun", text)
	case ledger.DayOf(month.AddDate(0, 1, 0))-1 <= ledger.DayOf(now)-ledger.KeepDays:
		return month, fmt.Errorf("the store has nothing of %s any more; it keeps %d days", text, ledger.KeepDays)
	}
	return month, nil
}

// collector adds up a month.
type collector struct {
	m                                   *Month
	spf, dkim, dmarc, applied, override map[string]int64
	byPolicy                            map[string]*Policy
	days                                map[ledger.Day]*Day
}

// Collect adds up a month.
func Collect(ctx context.Context, s ledger.Store, o Options) (*Month, error) {
	y, mon, _ := o.Month.UTC().Date()
	first := time.Date(y, mon, 1, 0, 0, 0, 0, time.UTC)
	f := ledger.Filter{From: ledger.DayOf(first), To: ledger.DayOf(first.AddDate(0, 1, 0)) - 1, Group: o.Group}
	today, whole := ledger.DayOf(o.Now), true
	if f.To >= today {
		f.To, whole = today, false
	}
	if kept := today - ledger.KeepDays + 1; f.From < kept {
		f.From, whole = kept, false
	}
	m := &Month{Month: first.Format("2006-01"), From: date(f.From), To: date(f.To), Whole: whole, Group: o.Group}
	c := collector{m: m, spf: map[string]int64{}, dkim: map[string]int64{}, dmarc: map[string]int64{}, applied: map[string]int64{}, override: map[string]int64{},
		byPolicy: map[string]*Policy{}, days: map[ledger.Day]*Day{}}
	for t, err := range s.Totals(ctx, f) {
		if err != nil {
			return nil, fmt.Errorf("stats: %w", err)
		}
		c.total(&t)
	}
	c.tables(f)
	if err := m.figures(ctx, s, f); err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	if err := m.domains(ctx, s, f, o.Classes); err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	return m, nil
}

func date(d ledger.Day) string { return d.Time().Format(time.DateOnly) }

// total counts the messages of one total.
func (c *collector) total(t *ledger.Total) {
	n := t.Messages
	c.m.Messages += n
	if t.Unauthenticated() {
		c.m.Unauthenticated.Messages += n
	}
	if t.SPF != "pass" && t.DKIM != "pass" {
		c.m.NothingPassed.Messages += n
	}
	c.spf[t.SPF] += n
	c.dkim[t.DKIM] += n
	c.dmarc[t.DMARC] += n
	c.applied[t.Applied] += n
	if t.Override != "" {
		c.override[t.Override] += n
	}
	word := string(t.Policy)
	if !slices.Contains(policyWords, word) {
		word = NoPolicy
	}
	p := c.byPolicy[word]
	if p == nil {
		p = &Policy{}
		c.byPolicy[word] = p
	}
	day := c.days[t.Day]
	if day == nil {
		day = &Day{}
		c.days[t.Day] = day
	}
	p.Messages += n
	day.Messages += n
	switch t.DMARC {
	case "pass":
		p.Pass += n
	case "fail":
		p.Fail += n
	default:
		p.Other += n
	}
	switch t.Applied {
	case "reject":
		p.Rejected, day.Rejected = p.Rejected+n, day.Rejected+n
	case "quarantine":
		p.Quarantined, day.Quarantined = p.Quarantined+n, day.Quarantined+n
	}
	day.add(t.Standing(), n)
}

func (s *Standings) add(standing string, n int64) {
	switch standing {
	case ledger.StandingPass:
		s.Pass += n
	case ledger.StandingFail:
		s.Fail += n
	case ledger.StandingNothing:
		s.Nothing += n
	default:
		s.Other += n
	}
}

// The words of the tables, in their order. Words that are in the store beyond them follow.
var (
	spfWords     = []string{"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}
	dkimWords    = []string{"pass", "fail", "policy", "neutral", "temperror", "permerror", "none"}
	dmarcWords   = []string{"pass", "fail", "none", "temperror", "permerror"}
	policyWords  = []string{string(dmarc.PolicyReject), string(dmarc.PolicyQuarantine), string(dmarc.PolicyNone), NoPolicy}
	appliedWords = []string{"reject", "quarantine", "tag", "accept"}
)

// tables makes the tables of the totals.
func (c *collector) tables(f ledger.Filter) {
	m := c.m
	m.SPF, m.DKIM, m.DMARC, m.Applied = m.counts(spfWords, c.spf), m.counts(dkimWords, c.dkim), m.counts(dmarcWords, c.dmarc), m.counts(appliedWords, c.applied)
	m.Overrides = m.counts(nil, c.override)
	m.Unauthenticated, m.NothingPassed = m.part(m.Unauthenticated.Messages), m.part(m.NothingPassed.Messages)
	for _, word := range policyWords {
		p := c.byPolicy[word]
		if p == nil {
			p = &Policy{}
		}
		p.Policy, p.Part = word, m.part(p.Messages)
		m.Policies = append(m.Policies, *p)
	}
	for d := f.From; d <= f.To; d++ {
		day := c.days[d]
		if day == nil {
			day = &Day{}
		}
		day.Day = date(d)
		m.Days = append(m.Days, *day)
	}
}

func (m *Month) part(n int64) Part { return Part{n, share(n, m.Messages)} }

func share(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// counts returns the counts of the words, and then those of other words, the greatest first.
func (m *Month) counts(words []string, counted map[string]int64) []Count {
	out := []Count{}
	for _, w := range words {
		out = append(out, Count{w, m.part(counted[w])})
	}
	var rest []Count
	for w, n := range counted {
		if !slices.Contains(words, w) {
			rest = append(rest, Count{w, m.part(n)})
		}
	}
	slices.SortFunc(rest, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Word, b.Word)) })
	return append(out, rest...)
}
