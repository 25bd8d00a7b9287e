package msgauth

import "time"

// At returns a Verifier that judges as of t what depends on the time (x= and
// t= of signatures, SPF's %{t}), and shares everything else: for a message that
// came earlier.
func (v *Verifier) At(t time.Time) *Verifier {
	past := *v
	past.o.Now = func() time.Time { return t }
	return &past
}
