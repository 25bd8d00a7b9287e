package telemetry

import (
	"time"

	"sekimori/internal/judge"
)

// Probes is the observer of the messages of "sekimori probe". It counts them in a series of their
// own, so that no probe changes a number that is about mail.
type Probes struct{ Metrics *Metrics }

// Decided implements filter.Observer. A panic is counted too, because it is a bug of the daemon,
// whoever sent the message.
func (p Probes) Decided(d *judge.Decision, _ time.Duration) {
	p.Metrics.probes.with(string(d.Verdict.Action)).Inc()
	if d.Evaluation == nil {
		return
	}
	for _, one := range d.Evaluation.Panics {
		p.Metrics.panics.with(string(one.Component)).Inc()
	}
}
