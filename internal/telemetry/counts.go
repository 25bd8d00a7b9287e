package telemetry

import (
	"sekimori/internal/readout"
	"sekimori/internal/spf"
)

// Counts are the values of Metrics by label value, from the start of the daemon.
// The status page shows them.
type Counts struct {
	Messages     map[string]int64 // by verdict
	EndOfMessage readout.Timing
	Overrides    map[string]int64 // deviations from published policies by reason
	RuleHits     map[string]int64 // by rule
	Shadow       map[[2]string]int64

	SPFMailFrom map[string]int64
	SPFHELO     map[string]int64
	DKIM        map[string]int64
	DMARC       map[string]int64
	Published   map[string]int64 // messages by published policy
	ARC         map[string]int64
	IPRev       map[string]int64

	BudgetExceeded map[string]int64 // lookups, by mechanism

	SessionsInFlight int64
	SessionsEnded    map[string]int64 // by how they ended
	SessionsRejected map[string]int64 // by reason

	Panics         map[string]int64 // by component
	ProtocolErrors map[string]int64 // by kind
	Oversize       map[string]int64 // by limit
}

// Counts returns the values as they are now.
func (m *Metrics) Counts() Counts {
	c := Counts{
		Messages: values(m.messages), EndOfMessage: readout.Times(m.messageDuration),
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

// values reads every counter that is shown so far.
func values[K comparable](s *counters[K]) map[K]int64 {
	return sums(s, func(k K) K { return k })
}

// sums adds up the counters of which by returns the same.
func sums[K, R comparable](s *counters[K], by func(K) R) map[R]int64 {
	out := map[R]int64{}
	for k, counter := range *s.known.Load() {
		out[by(k)] += int64(readout.Value(counter))
	}
	return out
}
