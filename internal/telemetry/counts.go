package telemetry

import (
	"sekimori/internal/readout"
	"sekimori/internal/spf"
)

// Counts holds values of Metrics, which the status page shows. The keys of the maps are
// label values. Counting begins when the daemon starts.
type Counts struct {
	Messages     map[string]int64 // by verdict
	EndOfMessage readout.Timing
	Overrides    map[string]int64 // deviations from published policies, by reason
	RuleHits     map[string]int64 // by ID of the rule
	Shadow       map[[2]string]int64

	SPFMailFrom map[string]int64
	SPFHELO     map[string]int64
	DKIM        map[string]int64
	DMARC       map[string]int64
	Published   map[string]int64 // messages, by published policy
	ARC         map[string]int64
	IPRev       map[string]int64

	BudgetExceeded map[string]int64 // refused lookups, by mechanism

	SessionsInFlight int64
	SessionsEnded    map[string]int64 // by how they ended
	SessionsRejected map[string]int64 // by reason

	Panics         map[string]int64 // by component
	ProtocolErrors map[string]int64 // by kind
	Oversize       map[string]int64 // by limit
}

// Counts returns the current values.
func (m *Metrics) Counts() Counts {
	c := Counts{
		Messages: values(m.messages), EndOfMessage: readout.Times(m.messageWait),
		Overrides: values(m.dmarcOverride), RuleHits: values(m.ruleHits), Shadow: values(m.shadow),
		SPFMailFrom: map[string]int64{}, SPFHELO: map[string]int64{},
		DKIM:      sums(m.dkimSignatures, func(k [3]string) string { return k[0] }),
		DMARC:     sums(m.dmarc, func(k [3]string) string { return k[0] }),
		Published: sums(m.dmarc, func(k [3]string) string { return k[1] }),
		ARC:       values(m.arc), IPRev: values(m.iprev),
		BudgetExceeded:   values(m.budget),
		SessionsInFlight: int64(readout.Value(m.sessionsInflight)),
		SessionsEnded:    values(m.sessions), SessionsRejected: values(m.sessionsRejected),
		Panics: values(m.panics), ProtocolErrors: values(m.protocolErrors), Oversize: values(m.oversize),
	}
	for k, n := range values(m.spf) {
		if identity, result := k[0], k[1]; identity == string(spf.MailFrom) {
			c.SPFMailFrom[result] = n
		} else {
			c.SPFHELO[result] = n
		}
	}
	return c
}

// values returns the value of every counter in s, by its label values.
func values[K comparable](s *counters[K]) map[K]int64 {
	return sums(s, func(k K) K { return k })
}

// sums groups the counters in s by the result of the function `by`, and returns the sum
// of each group.
func sums[K, R comparable](s *counters[K], by func(K) R) map[R]int64 {
	out := map[R]int64{}
	for k, counter := range *s.known.Load() {
		out[by(k)] += int64(readout.Value(counter))
	}
	return out
}
