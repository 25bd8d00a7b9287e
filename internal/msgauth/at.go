package msgauth

import "time"

// At returns a Verifier for a message that came at t: checks that depend on the time
// (x= and t= of signatures, and %{t} of SPF) use t instead of the clock. It shares
// everything else with v.
func (v *Verifier) At(t time.Time) *Verifier {
	past := *v
	past.o.Now = func() time.Time { return t }
	return &past
}
