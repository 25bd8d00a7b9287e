package filter

import (
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Comparer is an Observer that also learns what a candidate policy makes of
// each message, from the same evaluation.
type Comparer interface {
	Compared(e *msgauth.Evaluation, live, shadow policy.Verdict)
}

// compared tells what the candidate policy, if there is one, makes of the message.
// Nothing but the telling comes of it.
func (o *Options) compared(d *judge.Decision) {
	if d.Shadow == nil {
		return
	}
	for _, observer := range o.Observers {
		if c, ok := observer.(Comparer); ok {
			c.Compared(d.Evaluation, d.Shadow.Live, d.Shadow.Candidate)
		}
	}
}
