package dispatch

import (
	"fmt"
	"testing"
	"time"

	"sekimori/internal/dns"
)

func TestHosts(t *testing.T) {
	now := time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)
	h := hosts{gap: time.Second, all: map[dns.Name]*host{}}
	if wait, _, ok := h.take("a.example", now, false); !ok || wait != 0 {
		t.Fatalf("first: %v, %v", wait, ok)
	}
	if wait, _, ok := h.take("b.example", now, false); !ok || wait != 0 {
		t.Fatalf("another domain: %v, %v", wait, ok)
	}
	_, first, ok := h.take("a.example", now, false)
	_, second, ok2 := h.take("a.example", now, false)
	if ok || ok2 || first.Sub(now) != 2*time.Second || second.Sub(first) != time.Second {
		t.Errorf("while busy: put off until %v and %v", first, second)
	}
	if wait, _, ok := h.take("a.example", now, true); !ok || wait != time.Second {
		t.Errorf("the same job again: %v, %v", wait, ok)
	}
	h.release("a.example", time.Time{})
	if wait, _, ok := h.take("a.example", now, false); !ok || wait != 2*time.Second {
		t.Errorf("after release: %v, %v", wait, ok)
	}
	for range 10 {
		h.take("a.example", now, true)
	}
	if _, again, ok := h.take("a.example", now, true); ok || again.IsZero() {
		t.Error("waits longer than maxPatience")
	}
	h.release("a.example", time.Time{})
	if wait, _, ok := h.take("a.example", now.Add(-24*time.Hour), false); !ok || wait != 0 {
		t.Errorf("after the clock was set back by a day: %v, %v", wait, ok)
	}
}

// TestHorizon checks that no job is put off beyond maxHorizon by more than a turn.
func TestHorizon(t *testing.T) {
	now := time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)
	h := hosts{gap: time.Minute, all: map[dns.Name]*host{}}
	h.take("a.example", now, false)
	var most time.Duration
	for range 2000 {
		_, again, ok := h.take("a.example", now, false)
		if ok || !again.After(now) {
			t.Fatalf("%v, %v", again, ok)
		}
		most = max(most, again.Sub(now))
	}
	if most < maxHorizon || most > maxHorizon+2*time.Minute {
		t.Errorf("put off for %v", most)
	}
}

func TestHostsAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)
	h := hosts{gap: time.Second, all: map[dns.Name]*host{}}
	for i := range 3 * maxHosts {
		name := dns.Name(fmt.Sprintf("h%d.example", i))
		h.take(name, now, false)
		h.take(name, now, false) // is put off, so the domain has a horizon
		h.release(name, now)
		if i%1000 == 0 {
			now = now.Add(2 * time.Second)
		}
		if len(h.all) > maxHosts {
			t.Fatalf("%d domains", len(h.all))
		}
	}
}

// TestPrune: an owner whose turn is over goes first, then one whose jobs are put off; one in use stays.
func TestPrune(t *testing.T) {
	now := time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)
	future := now.Add(1)
	for _, tt := range []struct {
		why       string
		fill, odd host
		size      int
		fillStays bool
		oddStays  bool
	}{
		{"there is room", host{}, host{}, maxHosts - 1, true, true},
		{"an owner is put off", host{}, host{horizon: future}, maxHosts, false, true},
		{"all are put off", host{horizon: future}, host{horizon: future}, maxHosts, false, false},
		{"all are put off, one is in use", host{horizon: future}, host{busy: true}, maxHosts, false, true},
		{"the time of one has not come", host{next: now, horizon: now}, host{next: future}, maxHosts, false, true},
	} {
		h := hosts{all: map[dns.Name]*host{"odd": &tt.odd}}
		for i := range tt.size - 1 {
			h.all[dns.Name(fmt.Sprint(i))] = &tt.fill
		}
		h.prune(now)
		if (h.all["0"] != nil) != tt.fillStays || (h.all["odd"] != nil) != tt.oddStays {
			t.Errorf("%s: %d of %d stay", tt.why, len(h.all), tt.size)
		}
	}
}

func TestPace(t *testing.T) {
	now := time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)
	p := pace{gap: time.Millisecond}
	begin := time.Now()
	for range 5 {
		p.wait(t.Context(), now)
	}
	if p.next.Sub(now) != 5*time.Millisecond || time.Since(begin) < 4*time.Millisecond {
		t.Errorf("next after %v", p.next.Sub(now))
	}
	if !p.wait(t.Context(), now.Add(-24*time.Hour)) {
		t.Error("ended")
	}
}

func TestTrouble(t *testing.T) {
	now := time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)
	var tr trouble
	fail := func(n int) {
		for range n {
			tr.report(true, now)
		}
	}
	check := func(why string, want time.Duration) {
		t.Helper()
		if got := tr.wait(now); got != want {
			t.Errorf("%s: wait %v, want %v", why, got, want)
		}
	}
	fail(troubleAfter - 1)
	check("too few", 0)
	check("too few", 0)
	tr.report(false, now)
	fail(troubleAfter - 1)
	check("too few since a success", 0)
	fail(1)
	check("enough", troubleFirst)
	fail(5) // of transactions that were under way
	check("more during the pause", troubleFirst)
	now = now.Add(troubleFirst)
	check("one job after the pause", 0)
	check("but only one", troubleFirst)
	tr.unused()
	check("the job was withheld, so another", 0)
	fail(1)
	check("it failed", 2*troubleFirst)
	for range 10 {
		now = now.Add(time.Hour)
		check("one job", 0)
		fail(1)
	}
	check("the longest pause", troubleMost)
	now = now.Add(-24 * time.Hour)
	check("the clock was set back by a day", troubleMost)
	now = now.Add(troubleMost)
	check("one job after the pause", 0)
	now = now.Add(troubleFirst)
	check("nothing is heard of it, so another", 0)
	tr.report(false, now)
	check("a success", 0)
	check("a success", 0)
}
