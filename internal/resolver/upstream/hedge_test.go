package upstream

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func TestHedge(t *testing.T) {
	const hedge, ms = 100 * time.Millisecond, time.Millisecond
	cases := []struct {
		reason         string
		first, second  string
		takes1, takes2 time.Duration
		want           string
		after          time.Duration
		asked2         int
		winner         string
	}{
		{"the first is in time", "", "", 50 * ms, 0, "1", 50 * ms, 0, ""},
		{"the first is late", "", "", 500 * ms, 10 * ms, "2", 110 * ms, 1, "second"},
		{"the first is late and still earlier", "", "", 150 * ms, 100 * ms, "1", 150 * ms, 1, "first"},
		{"the first is dead", "dead", "", 0, 10 * ms, "2", 110 * ms, 1, "second"},
		{"the first fails before the hedge delay, so the second is asked at once", "servfail", "", 10 * ms, 10 * ms, "2", 20 * ms, 1, ""},
		{"the first fails after the hedge delay, so the second's answer counts", "servfail", "", 150 * ms, 100 * ms, "2", 200 * ms, 1, "second"},
		{"the second fails, so the first's answer counts", "", "servfail", 300 * ms, 10 * ms, "1", 300 * ms, 1, "first"},
		{"the first has a permanent failure, which the second would have too", "loop", "", 150 * ms, 100 * ms, "loop", 150 * ms, 1, "first"},
		{"both fail", "servfail", "refused", 300 * ms, 10 * ms, "servfail", 300 * ms, 1, "none"},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			m := testMetrics(t)
			f, client := newFleet(t, ClientConfig{Hedge: hedge, Metrics: m.Metrics}, 2)
			f.set("1", c.first)
			f.set("2", c.second)
			f.setTakes("1", c.takes1)
			f.setTakes("2", c.takes2)
			if got, after := f.ask(client); got != c.want || after != c.after {
				t.Errorf("%s: got %s after %s, want %s after %s", c.reason, got, after, c.want, c.after)
			}
			if n := f.count("2"); n != c.asked2 {
				t.Errorf("%s: the second was asked %d times", c.reason, n)
			}
			got := m.Values(t)
			for _, winner := range []string{"first", "second", "none"} {
				if n := got["hedges "+winner]; (n == 1) != (winner == c.winner) || n > 1 {
					t.Errorf("%s: winner %s counted %v times", c.reason, winner, n)
				}
			}
			if srtt := client.list()[0].health.srtt; c.winner == "second" && c.first != "servfail" && srtt != c.after {
				t.Errorf("%s: the time of the first is %s", c.reason, srtt)
			}
			if free := len(client.slots); free != 0 {
				t.Errorf("%s: %d sockets are still counted", c.reason, free)
			}
		})
	}
}

// TestHedgeNoticesTheDead: with hedging, a lookup waits for a dead first server only for the hedge
// delay, and only until a probe has shown that the server is dead.
func TestHedgeNoticesTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFleet(t, ClientConfig{Hedge: 100 * time.Millisecond}, 2)
		f.set("1", "dead")
		slow := 0
		for range 100 {
			if s, took := f.ask(c); s != "2" || took > 100*time.Millisecond {
				t.Errorf("from %s after %s", s, took)
			} else if took > 0 {
				slow++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if slow == 0 || slow > 15 { // until the first probe has timed out, lookups still ask the dead server first
			t.Errorf("%d queries waited for it", slow)
		}
	})
}

func TestHedgeNeedsTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFleet(t, ClientConfig{Hedge: time.Millisecond}, 1)
		f.setTakes("1", time.Second)
		if s, took := f.ask(c); s != "1" || took != time.Second || f.count("1") != 1 {
			t.Errorf("from %s after %s", s, took)
		}
	})
}

// TestHedgeBounds: if no socket is free, the second server is not asked. If a lookup ends while
// both servers are being asked, both queries end and their sockets are free again.
func TestHedgeBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFleet(t, ClientConfig{Hedge: 100 * time.Millisecond, inflight: 1}, 2)
		f.setTakes("1", time.Second)
		if s, took := f.ask(c); s != "1" || took != time.Second || f.count("2") != 0 {
			t.Errorf("from %s after %s", s, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f, c := newFleet(t, ClientConfig{Hedge: 100 * time.Millisecond}, 2)
		f.set("1", "dead")
		f.set("2", "dead")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if got := nameserver.Show(c.Lookup(ctx, "x.example", dns.TypeA)); got != "timeout" || time.Since(begin) != 200*time.Millisecond {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
		if len(c.slots) != 0 {
			t.Errorf("%d sockets are still counted", len(c.slots))
		}
	})
}
