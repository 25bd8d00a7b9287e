package resolver

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

func TestCacheServesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		z := nameserver.Zone(t, cacheZone)
		cfg := cacheDefaults()
		cfg.Metrics = m.Metrics
		c := cached(t, cfg, z)
		look := func(want string, asked int) {
			t.Helper()
			z.ResetQueries()
			if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != want || len(z.Queries()) != asked {
				t.Errorf("got %s with %d queries, want %s with %d", got, len(z.Queries()), want, asked)
			}
		}
		fresh, stale := "NOERROR a.example.com 1m0s 192.0.2.1", "NOERROR a.example.com 30s 192.0.2.1 cached stale"
		look(fresh, 1)
		z.Fail("a.example.com", dns.TypeA, zone.Fault{Kind: zone.ServFail})
		time.Sleep(time.Minute)
		look(stale, 1)
		look(stale, 0) // no new query while the failure is remembered
		time.Sleep(cfg.FailureTTL)
		look(stale, 1)
		z.Fail("a.example.com", dns.TypeA, zone.Fault{})
		time.Sleep(cfg.FailureTTL)
		look(fresh, 1)
		z.Fail("a.example.com", dns.TypeA, zone.Fault{Kind: zone.Timeout})
		time.Sleep(time.Minute + cfg.Stale - 1)
		look(stale, 1)
		time.Sleep(time.Nanosecond)
		look("timeout", 1) // later than CacheConfig.Stale allows
		m.Expect(t, map[string]float64{"cache_misses positive": 2, "cache_misses failure": 4, "cache_stale positive": 4})
	})
}

// TestFailureAfterStale: a failure is remembered also if the answer that it follows is too old to be served, and still
// in the store because nothing was written since.
func TestFailureAfterStale(t *testing.T) {
	for _, stale := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			z := nameserver.Zone(t, cacheZone)
			cfg := cacheDefaults()
			cfg.Stale = stale
			c := cached(t, cfg, z)
			_, _ = c.Lookup(t.Context(), "a.example.com", dns.TypeA)
			z.Fail("a.example.com", dns.TypeA, zone.Fault{Kind: zone.ServFail})
			time.Sleep(time.Minute + stale)
			for range 3 {
				if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != "servfail" {
					t.Errorf("got %s", got)
				}
			}
			if n := len(z.Queries()); n != 2 {
				t.Errorf("stale for %s: asked %d times", stale, n)
			}
		})
	}
}

func TestCacheServesStaleNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		z := nameserver.Zone(t, cacheZone)
		cfg := cacheDefaults()
		cfg.Metrics = m.Metrics
		c := cached(t, cfg, z)
		_, _ = c.Lookup(t.Context(), "no.example.com", dns.TypeA)
		time.Sleep(cfg.NegativeTTL)
		z.Fail("no.example.com", dns.TypeA, zone.Fault{Kind: zone.Refused})
		if got := marks(c.Lookup(t.Context(), "no.example.com", dns.TypeA)); got != "NXDOMAIN no.example.com 30s cached stale" {
			t.Errorf("got %s", got)
		}
		if n := m.Values(t)["cache_stale negative"]; n != 1 {
			t.Errorf("counted %v", n)
		}
	})
}

// TestCacheStaleWhileServerIsSlow: if there is a stale answer, a lookup waits for a slow server no
// longer than staleAfter, and returns the stale answer at its deadline instead of failing.
func TestCacheStaleWhileServerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone)
		c := cached(t, cacheDefaults(), z)
		_, _ = c.Lookup(t.Context(), "a.example.com", dns.TypeA)
		time.Sleep(time.Minute)
		z.Fail("a.example.com", dns.TypeA, zone.Fault{Delay: 5 * time.Second})
		begin := time.Now()
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stale := "NOERROR a.example.com 30s 192.0.2.1 cached stale"
		if got := marks(c.Lookup(hurried, "a.example.com", dns.TypeA)); got != stale || time.Since(begin) != time.Second {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
		begin = time.Now()
		if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != stale || time.Since(begin) != staleAfter {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if got := marks(c.Lookup(gone, "a.example.com", dns.TypeA)); got != "canceled" {
			t.Errorf("the lookup that is canceled while it waits got %s", got)
		}
		if got := marks(c.Lookup(gone, "a.example.com", dns.TypeA)); got != "canceled" {
			t.Errorf("the canceled lookup got %s", got)
		}
		time.Sleep(5 * time.Second) // the query went on and stored a new answer
		if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); !strings.HasSuffix(got, "192.0.2.1 cached") {
			t.Errorf("got %s", got)
		}
		if n := len(z.Queries()); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}
