package resolver

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

// TestWithSharesCacheAndClock: With keeps the entries, and they expire at the same time as before.
// Expired entries are removed, no matter which of the two Caches stored an entry last.
func TestWithSharesCacheAndClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		dial, _ := nameserver.Script(func(_, _ string, query []byte, conn net.Conn) {
			_, _ = conn.Write(nameserver.Respond(t, query, 0, nameserver.QuestionName(query)+" A 192.0.2.1"))
		}).Dialer()
		cfg := Config{Cache: cacheDefaults()}
		cfg.Cache.Stale = 0
		cfg.Client = ClientConfig{Servers: []string{"192.0.2.1"}, Dial: dial}
		old, err := NewWithMetrics(cfg, m.Metrics)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour) // an entry must not be kept longer because the cache is old
		if _, err := old.Lookup(t.Context(), "a.example", dns.TypeA); err != nil {
			t.Fatal(err)
		}
		cfg.Client.Servers = []string{"192.0.2.1", "192.0.2.2"}
		r, err := old.With(cfg.Client)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		old.Close()
		if a, err := r.Lookup(t.Context(), "a.example", dns.TypeA); err != nil || !a.Cached {
			t.Errorf("the stored answer is lost: %+v, %v", a, err)
		}
		time.Sleep(6 * time.Minute)
		if _, err := r.Lookup(t.Context(), "b.example", dns.TypeA); err != nil {
			t.Error(err)
		}
		r.cache.store.CleanUp()
		if n := r.cache.entries(); n != 1 {
			t.Errorf("%v entries after all but one ended", n)
		}
		for _, c := range []struct {
			show    *Resolver
			servers int
		}{{r, 2}, {old, 1}} {
			c.show.Show()
			if _, second := m.Values(t)["upstream_up 1"]; second != (c.servers == 2) {
				t.Errorf("of %d servers the second is shown: %v", c.servers, second)
			}
		}
	})
}

// TestFailureOfTheOldIsRemembered: a late failure of the old servers replaces an earlier one of the new servers, so
// the name is not asked for the time that follows the last.
func TestFailureOfTheOldIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := nameserver.Zone(t, cacheZone), nameserver.Zone(t, cacheZone)
		before.Fail("a.example.com", dns.TypeA, zone.Fault{Kind: zone.ServFail, Delay: 5 * time.Second})
		after.Fail("a.example.com", dns.TypeA, zone.Fault{Kind: zone.Refused})
		cfg := cacheDefaults()
		old := cached(t, cfg, before)
		go func() { _, _ = old.Lookup(context.Background(), "a.example.com", dns.TypeA) }()
		synctest.Wait()
		renewed := old.with(after)
		defer renewed.Close()
		for _, tt := range []struct {
			wait time.Duration
			want string
		}{{0, "refused"}, {6 * time.Second, "servfail"}, {cfg.FailureTTL - 2*time.Second, "servfail"}, {2 * time.Second, "refused"}} {
			time.Sleep(tt.wait)
			if got := marks(renewed.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != tt.want {
				t.Errorf("after %s more: %s, want %s", tt.wait, got, tt.want)
			}
		}
	})
}

// TestLastAnswerCounts: an answer replaces what another Cache has stored since it was asked for.
func TestLastAnswerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := nameserver.Zone(t, "a.example.com A 192.0.2.2\n! a.example.com A delay=5s")
		old := cached(t, cacheDefaults(), before)
		go func() { _, _ = old.Lookup(context.Background(), "a.example.com", dns.TypeA) }()
		synctest.Wait()
		renewed := old.with(nameserver.Zone(t, "a.example.com A 192.0.2.1"))
		defer renewed.Close()
		for _, want := range []string{"NOERROR a.example.com 5m0s 192.0.2.1", "NOERROR a.example.com 4m59s 192.0.2.2 cached"} {
			if got := marks(renewed.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			time.Sleep(6 * time.Second)
		}
	})
}

// TestFailureOfTheOldDisplacesNothing: a reload often happens because servers failed. If a query to
// the old servers fails late, it does not replace an answer of the new servers.
func TestFailureOfTheOldDisplacesNothing(t *testing.T) {
	for _, tt := range []struct {
		reason string
		known  bool // the cache has an answer whose TTL is over
		close  bool // the old Cache is closed before its query ends
		loop   bool // the failure of the old servers is permanent
		late   bool // the TTL of the new answer is over when the query to the old servers fails
	}{
		{reason: "nothing was known"},
		{reason: "the new answer is no longer fresh", late: true},
		{reason: "a stale answer was known", known: true},
		{reason: "the old one is closed", known: true, close: true},
		{reason: "the old servers see a loop", loop: true},
		{reason: "the old servers see a loop, and a stale answer was known", known: true, loop: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			before, after := nameserver.Zone(t, cacheZone), nameserver.Zone(t, cacheZone)
			if tt.late {
				after.Remove("a.example.com").AddTTL("a.example.com", dns.TypeA, time.Second, dns.Record{Addr: netip.MustParseAddr("192.0.2.1")})
			}
			old := cached(t, cacheDefaults(), before)
			if tt.known {
				_, _ = old.Lookup(t.Context(), "a.example.com", dns.TypeA)
				time.Sleep(2 * time.Minute)
			}
			fault := zone.Fault{Delay: 5 * time.Second, Kind: zone.ServFail}
			if tt.loop {
				fault.Kind = ""
				before.Remove("a.example.com").Add("a.example.com", dns.TypeCNAME, dns.Record{Host: "a.example.com"})
			}
			before.Fail("a.example.com", dns.TypeA, fault)
			go func() { _, _ = old.Lookup(context.Background(), "a.example.com", dns.TypeA) }()
			synctest.Wait()
			renewed := old.with(after)
			defer renewed.Close()
			if _, err := renewed.Lookup(t.Context(), "a.example.com", dns.TypeA); err != nil {
				t.Fatal(err)
			}
			if tt.close {
				old.Close()
			}
			time.Sleep(6 * time.Second)
			want := "NOERROR a.example.com 54s 192.0.2.1 cached"
			if tt.late {
				want = "NOERROR a.example.com 5s 192.0.2.1" // it is asked for again
			}
			if got := marks(renewed.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != want {
				t.Errorf("%s: got %s", tt.reason, got)
			}
		})
	}
}
