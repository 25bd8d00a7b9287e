package policy

import (
	"sekimori/internal/bimi"
	"sekimori/internal/msgauth"
)

// Mark returns what is said of the author's mark, and whether the message shows it (BIMI). A mark tells
// a person that the author is proven. So only a message that is accepted for its DMARC pass, and for
// nothing else, may show it: not one that a rule, the ramp, a forwarder or an opt-out let through. Mark
// returns nil if marks are not looked for.
func Mark(e *msgauth.Evaluation, v *Verdict) *bimi.Evaluation {
	if e.BIMI == nil || e.BIMI.Result != bimi.Pass || v.earnsMark() {
		return e.BIMI
	}
	return e.BIMI.Withheld()
}

// earnsMark reports whether v is that of a message whose author is proven, without any leniency.
func (v *Verdict) earnsMark() bool {
	return v.Action == Accept && v.Applied == Accept && v.Reason == ReasonAligned &&
		v.Override == nil && !v.Relaxed && v.Would == "" && len(v.Missing) == 0
}
