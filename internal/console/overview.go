package console

import (
	"net/http"
	"slices"

	"sekimori/internal/status"
)

// overview is the data of the first page.
type overview struct {
	Chart      chart
	Span       span
	Spans      []span
	Mechanisms []mechanism
	DNS        mechanism
	HitRate    float64 // percentage of the lookups that the DNS cache answered
	Lookups    int64   // number of lookups in the DNS cache
	Over       []share // for each mechanism, lookups that were refused because the message had used up its budget
	Rejected   []share
	Deviations []share
	Failing    *unaccepted // nil if no decision is remembered
	Sessions   float64     // open sessions, in percent of the largest allowed number
}

// mechanism has the results of one mechanism, such as SPF.
type mechanism struct {
	Name   string
	Unit   string
	Total  int64
	Shares []share
}

func newMechanism(name, unit string, results map[string]int64, class func(string) string) mechanism {
	m := mechanism{Name: name, Unit: unit, Shares: shares(results, class)}
	for _, s := range m.Shares {
		m.Total += s.Count
	}
	return m
}

func (c *Console) overview(r *http.Request, s *status.Status) (any, *problem) {
	shown := spans[0]
	if i := slices.IndexFunc(spans, func(s span) bool { return s.Word == r.URL.Query().Get("span") }); i >= 0 {
		shown = spans[i]
	}
	res := s.Results
	o := overview{
		Span: shown, Spans: spans,
		Chart: verdictChart(c.history.bars(sample{c.o.Now(), countsOf(s.Messages)}, shown.slots, shown.width), shown),
		Mechanisms: []mechanism{
			newMechanism("DMARC", "messages", res.DMARC, resultClass),
			newMechanism("SPF of MAIL FROM", "messages", res.SPFMailFrom, resultClass),
			newMechanism("SPF of HELO", "messages", res.SPFHELO, resultClass),
			newMechanism("DKIM", "signatures", res.DKIM, resultClass),
			newMechanism("ARC", "messages", res.ARC, resultClass),
			newMechanism("Reverse name", "messages", res.IPRev, resultClass),
			newMechanism("Published policy", "messages", res.Published, publishedClass),
		},
		DNS:        newMechanism("Queries", "queries", s.DNS.Queries, resultClass),
		Over:       shares(s.DNS.BudgetExceeded, resultClass),
		Rejected:   shares(s.Sessions.Rejected, resultClass),
		Deviations: shares(s.Deviations, resultClass),
		Failing:    c.unaccepted(),
	}
	if o.Lookups = s.DNS.Cache.Hits + s.DNS.Cache.Misses; o.Lookups > 0 {
		o.HitRate = 100 * float64(s.DNS.Cache.Hits) / float64(o.Lookups)
	}
	if s.Limits.MaxSessions > 0 {
		o.Sessions = min(100, 100*float64(s.Sessions.InFlight)/float64(s.Limits.MaxSessions))
	}
	return o, nil
}
