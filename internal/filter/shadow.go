package filter

import (
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Comparer is an Observer that also learns what a candidate policy makes of
// each message, from the same evaluation.
type Comparer interface {
	Compared(e *msgauth.Evaluation, live, shadow policy.Verdict)
}

// compare decides by the candidate policy, if there is one. Nothing but the
// telling comes of it.
func (o *Options) compare(e *msgauth.Evaluation, live policy.Verdict) {
	if o.Shadow == nil {
		return
	}
	shadow := policy.Decide(e, *o.Shadow)
	for _, observer := range o.Observers {
		if c, ok := observer.(Comparer); ok {
			c.Compared(e, live, shadow)
		}
	}
}
