// Package clock says whether the wall clock runs evenly. Who removes what is old asks it first: if the
// clock is set ahead by mistake, everything looks old.
package clock

import "time"

const (
	// Trusted is how long the clock must have run evenly before anything is removed because of its age. In
	// that time NTP sets a clock right that was wrong at the start of the host, or somebody notices.
	Trusted = time.Hour
	// tolerance is how much the wall clock may run faster or slower between two looks. NTP corrects less.
	tolerance = time.Minute
)

// Watch compares the wall clock with the time that really went by. The zero value is ready.
type Watch struct{ since, real, wall time.Time }

// Even returns for how long the wall clock, which shows now, has run as the real time did, by what the
// calls saw. The first call returns 0.
func (w *Watch) Even(now time.Time) time.Duration {
	real, wall := time.Now(), now.Round(0) // without its monotonic reading, now is what the wall clock shows
	if w.since.IsZero() || (wall.Sub(w.wall)-real.Sub(w.real)).Abs() > tolerance {
		w.since = real
	}
	w.real, w.wall = real, wall
	return real.Sub(w.since)
}
