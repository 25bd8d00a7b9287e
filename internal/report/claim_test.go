package report

import (
	"errors"
	"testing"
	"time"
)

// TestClaimable checks from when a job can be claimed, and when another sender has it.
func TestClaimable(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	closed := now.Add(-Grace).Unix() - 1 // the last second of a window that has just closed
	for _, tt := range []struct {
		why   string
		end   int64
		state State
		lease time.Duration // from now
		want  error
	}{
		{"just closed", closed, StateOpen, 0, nil},
		{"not closed yet", closed + 1, StateOpen, 0, ErrNone},
		{"claimed", closed, StateClaimed, time.Second, ErrLost},
		{"claimed, and the lease ends now", closed, StateClaimed, 0, nil},
		{"claimed, and the lease has ended", closed, StateClaimed, -time.Second, nil},
		{"done, with the time of an old lease", closed, StateDone, time.Hour, nil},
	} {
		j := Job{Window: Window{End: tt.end}, State: tt.state, LeaseUntil: now.Add(tt.lease)}
		if got := j.Claimable(now); !errors.Is(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}

// TestReclaim checks what is left of earlier tries: those of a job that was done do not count.
func TestReclaim(t *testing.T) {
	until := time.Unix(1_000_000, 0)
	for state, tries := range map[State]int{StateOpen: 3, StateClaimed: 3, StateDone: 0} {
		j := Job{State: state, Tries: 3, Reason: "refused", Lease: 7}
		j.Reclaim("me", until)
		if j.State != StateClaimed || j.Owner != "me" || !j.LeaseUntil.Equal(until) || j.Lease != 8 || j.Tries != tries || (j.Reason == "") != (tries == 0) {
			t.Errorf("%s: %+v", state, j)
		}
	}
}

// TestPassing checks from when a domain is known for passing.
func TestPassing(t *testing.T) {
	const today = Day(20_000)
	for _, tt := range []struct {
		days  int
		first Day
		want  bool
	}{
		{PassDays, today - PassSince, true}, {PassDays - 1, today - PassSince, false}, {PassDays, today - PassSince + 1, false}, {30, today - 100, true}, {0, 0, false},
	} {
		if got := (Seen{PassDays: tt.days, FirstPass: tt.first}).Passing(today); got != tt.want {
			t.Errorf("%d days, the first %d days ago: %t", tt.days, today-tt.first, got)
		}
	}
}
