package report

import (
	"testing"
	"time"
)

func TestStrikes(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	type strike struct {
		after  time.Duration // since start
		status string
		window int64
	}
	var often []strike
	for window := range int64(100) {
		often = append(often, strike{0, "5.2.2", window + 1})
	}
	for _, c := range []struct {
		why     string
		strikes []strike
		n       int
		until   time.Duration // since start; 0: not suppressed
	}{
		{"the mailbox does not exist", []strike{{0, "5.1.1", 1}}, 1, 30 * day},
		{"the domain does not exist", []strike{{0, "5.1.2", 1}}, 1, 30 * day},
		{"null MX", []strike{{0, "5.1.10", 1}}, 1, 30 * day},
		{"mailbox full, once", []strike{{0, "5.2.2", 1}}, 1, 0},
		{"no status", []strike{{0, "", 1}}, 1, 0},
		{"twice in one window", []strike{{0, "5.2.2", 1}, {day, "5.2.2", 1}}, 1, 0},
		{"in two windows", []strike{{0, "5.2.2", 1}, {day, "5.2.2", 2}}, 2, 8 * day},
		{"and the second one again", []strike{{0, "5.2.2", 1}, {day, "5.2.2", 2}, {2 * day, "5.2.2", 2}}, 2, 8 * day},
		{"in three", []strike{{0, "5.2.2", 1}, {day, "5.2.2", 2}, {8 * day, "5.2.2", 3}}, 3, 22 * day},
		{"in many", []strike{{0, "5.2.2", 1}, {0, "5.2.2", 2}, {0, "5.2.2", 3}, {0, "5.2.2", 4}, {0, "5.2.2", 5}, {0, "5.2.2", 6}, {0, "5.2.2", 7}}, 7, 90 * day},
		{"in four", []strike{{0, "5.2.2", 1}, {0, "5.2.2", 2}, {0, "5.2.2", 3}, {0, "5.2.2", 4}}, 4, 28 * day},
		{"in five", []strike{{0, "5.2.2", 1}, {0, "5.2.2", 2}, {0, "5.2.2", 3}, {0, "5.2.2", 4}, {0, "5.2.2", 5}}, 5, 56 * day},
		{"so often that doubling would overflow", append(often, strike{200 * day, "5.2.2", 101}), 101, 290 * day},
		{"a shorter time does not end a longer one", []strike{{0, "5.1.1", 1}, {day, "5.2.2", 2}}, 2, 30 * day},
		{"full first, then gone, in one window", []strike{{0, "5.2.2", 1}, {day, "5.1.1", 1}}, 1, 31 * day},
	} {
		s := Suppression{Target: "a@shop.example"}
		for _, x := range c.strikes {
			s = s.Strike(Failure{Status: x.status, Reason: "full", By: ByBounce, Window: x.window}, start.Add(x.after))
		}
		want := time.Time{}
		if c.until > 0 {
			want = start.Add(c.until)
		}
		if s.Strikes != c.n || !s.Until.Equal(want) || s.Since.IsZero() || s.By != ByBounce || s.Reason != "full" {
			t.Errorf("%s: got %+v, want until %v", c.why, s, want)
		}
	}
}

// TestSince checks since when a destination is suppressed: since its first failure, and after a time without
// suppression since the failure that begins the next.
func TestSince(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	var s Suppression
	for _, step := range []struct {
		after  time.Duration
		status string
		since  time.Duration
	}{
		{0, "5.1.1", 0},                                // until day 30
		{day, "5.1.1", 0},                              // until day 31
		{31 * day, "5.1.1", 31 * day},                  // just after
		{31*day + SuppressGone - 1, "5.1.1", 31 * day}, // just before its end
		{200 * day, "5.2.2", 200 * day},                // long after
	} {
		s = s.Strike(Failure{Status: step.status, By: ByBounce, Window: int64(step.after)}, start.Add(step.after))
		if !s.Since.Equal(start.Add(step.since)) {
			t.Errorf("after %v: since %v", step.after, s.Since.Sub(start))
		}
	}
}

func TestStrikeLeavesTheOperatorsEntry(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	s := Suppression{Target: "a@shop.example", By: ByOperator, Until: now.Add(time.Hour), Reason: "asked by phone"}
	if got := s.Strike(Failure{Status: "5.1.1", By: ByBounce}, now); got != s {
		t.Errorf("got %+v", got)
	}
	if got := s.Strike(Failure{Status: "5.1.1", By: ByBounce}, now.Add(time.Hour)); got.By != ByBounce || !got.Suppressed(now.Add(29*24*time.Hour)) {
		t.Errorf("after it ended: got %+v", got)
	}
}

func TestForgotten(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		why  string
		s    Suppression
		want bool
	}{
		{"nothing was sent since", Suppression{By: ByBounce, Strikes: 1}, false},
		{"sent five days ago", Suppression{By: ByBounce, Strikes: 1, Sent: now.Add(-ClearAfter)}, true},
		{"sent less than five days ago", Suppression{By: ByBounce, Strikes: 1, Sent: now.Add(-ClearAfter + time.Second)}, false},
		{"still suppressed", Suppression{By: ByRefusal, Sent: now.Add(-ClearAfter), Until: now.Add(time.Second)}, false},
		{"by the operator", Suppression{By: ByOperator, Sent: now.Add(-ClearAfter)}, false},
	} {
		if got := c.s.Forgotten(now); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
	struck := Suppression{By: ByBounce, Strikes: 1, Window: 1, Sent: now}.Strike(Failure{By: ByBounce, Window: 2}, now)
	if !struck.Sent.IsZero() {
		t.Error("a strike must start the time anew")
	}
}

func TestTargets(t *testing.T) {
	if got := Target("Rua@Shop.example"); got != "rua@shop.example" {
		t.Error(got)
	}
	for in, want := range map[string]string{"Rua@Shop.example": "@shop.example", "a@b@c.example": "@c.example", "@c.example": "@c.example", "none": "none"} {
		if got := DomainTarget(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
