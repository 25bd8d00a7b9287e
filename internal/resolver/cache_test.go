package resolver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

// cacheDefaults are the documented defaults of dns.cache.
func cacheDefaults() CacheConfig {
	return CacheConfig{
		Size: 64 << 20, MaxTTL: 24 * time.Hour, MinTTL: 5 * time.Second, NegativeTTL: 5 * time.Minute,
		FailureTTL: 10 * time.Second, Stale: time.Hour,
	}
}

func cached(t *testing.T, cfg CacheConfig, next dns.Resolver) *Cache {
	t.Helper()
	c, err := NewCache(next, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const cacheZone = `
example.com 900 SOA ns hostmaster 1 2 3 4 600
short.example.com 1 A 192.0.2.1
a.example.com 60 A 192.0.2.1
long.example.com 2000000 A 192.0.2.1
t.example.com 60 TXT text
`

// marks returns an answer or failure as text that also says whether it is cached and stale.
func marks(a dns.Answer, err error) string {
	s := nameserver.Show(a, err)
	if a.Cached {
		s += " cached"
	}
	if a.Stale {
		s += " stale"
	}
	return s
}

func TestCacheTTL(t *testing.T) {
	const rr = " 192.0.2.1"
	cases := []struct {
		reason string
		name   dns.Name
		typ    dns.Type
		first  string
		after  time.Duration // time until the same question is asked again
		second string
		asked  int
	}{
		{"TTL counts down", "a.example.com", dns.TypeA, "NOERROR a.example.com 1m0s" + rr, 20 * time.Second, "NOERROR a.example.com 40s" + rr + " cached", 1},
		{"asked again at the end of the TTL", "a.example.com", dns.TypeA, "NOERROR a.example.com 1m0s" + rr, time.Minute, "NOERROR a.example.com 1m0s" + rr, 2},
		{"another type is another question", "t.example.com", dns.TypeA, "NOERROR t.example.com 5m0s", 0, "NOERROR t.example.com 5m0s cached", 1},
		{"floor", "short.example.com", dns.TypeA, "NOERROR short.example.com 5s" + rr, 4 * time.Second, "NOERROR short.example.com 1s" + rr + " cached", 1},
		{"ceiling", "long.example.com", dns.TypeA, "NOERROR long.example.com 24h0m0s" + rr, 24*time.Hour - 1, "NOERROR long.example.com 1ns" + rr + " cached", 1},
		{"NXDOMAIN, capped", "no.example.com", dns.TypeA, "NXDOMAIN no.example.com 5m0s", time.Minute, "NXDOMAIN no.example.com 4m0s cached", 1},
		{"NODATA, capped", "a.example.com", dns.TypeTXT, "NOERROR a.example.com 5m0s", 5 * time.Minute, "NOERROR a.example.com 5m0s", 2},
		{"the SOA says less than the cap", "example.net", dns.TypeA, "NXDOMAIN example.net 1m0s", 59 * time.Second, "NXDOMAIN example.net 1s cached", 1},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := nameserver.Zone(t, cacheZone)
				c := cached(t, cacheDefaults(), z)
				if got := marks(c.Lookup(t.Context(), tc.name, tc.typ)); got != tc.first {
					t.Errorf("first %s, want %s", got, tc.first)
				}
				time.Sleep(tc.after)
				if got := marks(c.Lookup(t.Context(), tc.name, tc.typ)); got != tc.second {
					t.Errorf("then %s, want %s", got, tc.second)
				}
				if n := len(z.Queries()); n != tc.asked {
					t.Errorf("asked %d times, want %d", n, tc.asked)
				}
			})
		})
	}
}

// TestCacheZeroDurations: if every duration of the configuration is 0, nothing is stored.
func TestCacheZeroDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone)
		c := cached(t, CacheConfig{Size: 1 << 20}, z)
		for range 2 {
			for _, name := range []dns.Name{"a.example.com", "no.example.com"} {
				if a, err := c.Lookup(t.Context(), name, dns.TypeA); err != nil || a.Cached || a.TTL != 0 {
					t.Errorf("%+v, %v", a, err)
				}
			}
		}
		if n := len(z.Queries()); n != 4 || c.entries() != 0 {
			t.Errorf("%d queries, %v entries", n, c.entries())
		}
	})
}

func TestCacheFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		z := nameserver.Zone(t, "! a.example A servfail\n! a.example TXT timeout\na.example A 192.0.2.1")
		cfg := cacheDefaults()
		cfg.Metrics = m.Metrics
		c := cached(t, cfg, z)
		for range 3 { // RFC 9520: not asked again while the failure is stored
			if got := marks(c.Lookup(t.Context(), "a.example", dns.TypeA)); got != "servfail" {
				t.Errorf("got %s", got)
			}
			if got := marks(c.Lookup(t.Context(), "a.example", dns.TypeTXT)); got != "timeout" {
				t.Errorf("got %s", got)
			}
		}
		if n := len(z.Queries()); n != 2 {
			t.Errorf("asked %d times", n)
		}
		m.Expect(t, map[string]float64{"cache_misses failure": 2, "cache_hits failure": 4, "cache_entries": 2})
		z.Fail("a.example", dns.TypeA, zone.Fault{})
		time.Sleep(cfg.FailureTTL)
		if got := marks(c.Lookup(t.Context(), "a.example", dns.TypeA)); got != "NOERROR a.example 5m0s 192.0.2.1" {
			t.Errorf("after the failure: %s", got)
		}
	})
}

// TestCachePermanentFailures: a permanent failure is stored like other failures. It replaces the
// previous answer, so that answer is not returned as a stale one.
func TestCachePermanentFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, "l.example CNAME x.example\nx.example A 192.0.2.1")
		cfg := cacheDefaults()
		c := cached(t, cfg, z)
		look := func(want string, asked int) {
			t.Helper()
			z.ResetQueries()
			if got := marks(c.Lookup(t.Context(), "l.example", dns.TypeA)); got != want || len(z.Queries()) != asked {
				t.Errorf("got %s with %d queries, want %s with %d", got, len(z.Queries()), want, asked)
			}
		}
		look("NOERROR x.example 5m0s 192.0.2.1", 1)
		z.Remove("x.example").Add("x.example", dns.TypeCNAME, dns.Record{Host: "l.example"})
		time.Sleep(5 * time.Minute)
		look("loop", 1)
		look("loop", 0)
		time.Sleep(cfg.FailureTTL)
		z.Remove("x.example").Add("x.example", dns.TypeA, dns.Record{Addr: netip.MustParseAddr("192.0.2.2")})
		look("NOERROR x.example 5m0s 192.0.2.2", 1)
	})
}

// TestCacheKeepsNoPersonalFailures: if a lookup failed because the asker gave up, the failure says
// nothing about the name and is not stored.
func TestCacheKeepsNoPersonalFailures(t *testing.T) {
	for _, err := range []error{
		&dns.Error{Kind: dns.KindBudget}, &dns.Error{Kind: dns.KindCanceled}, errors.New("not a *dns.Error"),
		fmt.Errorf("wrapped: %w", &dns.Error{Kind: dns.KindBudget}),
	} {
		asked := 0
		c := cached(t, cacheDefaults(), nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) {
			asked++
			return dns.Answer{}, err
		}))
		for range 2 {
			if _, got := c.Lookup(t.Context(), "x.example", dns.TypeA); !errors.Is(got, err) {
				t.Errorf("got %v, want %v", got, err)
			}
		}
		if asked != 2 {
			t.Errorf("%v: asked %d times", err, asked)
		}
	}
}

func TestCacheCoalesces(t *testing.T) {
	for _, size := range []int64{0, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			m := testMetrics(t)
			z := nameserver.Zone(t, cacheZone+"! a.example.com A delay=3s\n")
			cfg := cacheDefaults()
			cfg.Size, cfg.Metrics = size, m.Metrics
			c := cached(t, cfg, z)
			begin := time.Now()
			var wg sync.WaitGroup
			const waiters = 50
			for i := range waiters {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					want, after := "NOERROR a.example.com 1m0s 192.0.2.1", 3*time.Second
					switch i % 5 {
					case 0: // every lookup ends with its own context, also the one that started the query
						cancel()
						ctx, cancel = context.WithTimeout(t.Context(), time.Second)
						want, after = "timeout", time.Second
					case 1:
						time.AfterFunc(2*time.Second, cancel)
						want, after = "canceled", 2*time.Second
					}
					defer cancel()
					if got := marks(c.Lookup(ctx, "a.example.com", dns.TypeA)); got != want || time.Since(begin) != after {
						t.Errorf("waiter %d got %s after %s, want %s after %s", i, got, time.Since(begin), want, after)
					}
				})
			}
			wg.Wait()
			if n := len(z.Queries()); n != 1 {
				t.Errorf("asked %d times", n)
			}
			m.Expect(t, map[string]float64{"coalesced": waiters - 1, "cache_misses positive": 1, "cache_entries": min(float64(size), 1)})
		})
	}
}

// TestCacheQueryOutlivesItsWaiter: a query goes on after the lookup that started it has ended, but
// not longer than maxQueryTime.
func TestCacheQueryOutlivesItsWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone+"! a.example.com A delay=3s\n! t.example.com TXT delay=1h\n")
		c := cached(t, cacheDefaults(), z)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := marks(c.Lookup(ctx, "a.example.com", dns.TypeA)); got != "timeout" {
			t.Errorf("got %s", got)
		}
		time.Sleep(3 * time.Second)
		if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != "NOERROR a.example.com 59s 192.0.2.1 cached" {
			t.Errorf("got %s", got)
		}
		begin := time.Now()
		if got := marks(c.Lookup(t.Context(), "t.example.com", dns.TypeTXT)); got != "timeout" || time.Since(begin) != maxQueryTime {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
	})
}

// TestCacheForgetsWhatIsGone: the store removes entries whose time is over.
func TestCacheForgetsWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone)
		cfg := cacheDefaults()
		cfg.Stale = 0
		c := cached(t, cfg, z)
		for i := range 100 {
			_, _ = c.Lookup(t.Context(), dns.Name(fmt.Sprintf("n%d.example.com", i)), dns.TypeA)
		}
		if n := c.entries(); n != 100 {
			t.Errorf("%v entries", n)
		}
		time.Sleep(cfg.NegativeTTL + 2*time.Second)
		_, _ = c.Lookup(t.Context(), "a.example.com", dns.TypeA)
		c.store.CleanUp()
		if n := c.entries(); n != 1 {
			t.Errorf("%v entries after all but one ended", n)
		}
	})
}

func TestCacheBoundsItsSize(t *testing.T) {
	m := testMetrics(t)
	z := zone.New()
	name := func(i int) dns.Name { return dns.Name(fmt.Sprintf("n%d.example.com", i)) }
	const size, n = 256 << 10, 400
	for i := range n {
		z.Add(name(i), dns.TypeTXT, dns.Record{Text: strings.Repeat("x", 4000)})
	}
	cfg := cacheDefaults()
	cfg.Size, cfg.Metrics = size, m.Metrics
	c := cached(t, cfg, z)
	for i := range n {
		if _, err := c.Lookup(t.Context(), name(i), dns.TypeTXT); err != nil {
			t.Fatal(err)
		}
	}
	c.store.CleanUp()
	got := m.Values(t)
	if got["cache_bytes"] > size || got["cache_bytes"] < size/2 {
		t.Errorf("%v octets, the bound is %d", got["cache_bytes"], size)
	}
	if kept := got["cache_entries"]; kept > size/4000 || kept+got["cache_evictions positive"] != n {
		t.Errorf("%v kept and %v evicted of %d", kept, got["cache_evictions positive"], n)
	}
}

// TestWeightCountsEverything: the weight includes everything whose size a sender of mail can
// choose.
func TestWeightCountsEverything(t *testing.T) {
	long := strings.Repeat("x", 200)
	k := key{"n.example", dns.TypeTXT}
	base := (&entry{}).weight(k)
	cases := []struct {
		reason string
		k      key
		e      *entry
		more   uint32
	}{
		{"name", key{dns.Name(long), dns.TypeTXT}, &entry{}, 200 - uint32(len(k.name))},
		{"alias", k, &entry{answer: dns.Answer{Canonical: dns.Name(long)}}, 200},
		{"text", k, &entry{answer: dns.Answer{Records: []dns.Record{{Text: long}}}}, 200},
		{"hosts", k, &entry{answer: dns.Answer{Records: []dns.Record{{Host: dns.Name(long)}, {Host: dns.Name(long)}}}}, 400},
		{"spare room", k, &entry{answer: dns.Answer{Records: make([]dns.Record, 0, 100)}}, 100 * 40},
		{"failure", k, &entry{err: &dns.Error{Err: errors.New(long)}}, 200},
	}
	for _, c := range cases {
		if got := c.e.weight(c.k); got < base+c.more {
			t.Errorf("%s: weight %d, want at least %d more than %d", c.reason, got, c.more, base)
		}
	}
}

func TestCachePurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone)
		c := cached(t, cacheDefaults(), z)
		for range 2 {
			if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != "NOERROR a.example.com 1m0s 192.0.2.1" {
				t.Errorf("got %s", got)
			}
			c.Purge()
		}
		off := cached(t, CacheConfig{}, z)
		off.Purge() // must not panic
		if off.entries() != 0 || off.bytes() != 0 {
			t.Error("a cache that is off has a size")
		}
	})
}

func TestCacheClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone+"! t.example.com TXT delay=9s\n")
		c := cached(t, cacheDefaults(), z)
		_, _ = c.Lookup(t.Context(), "a.example.com", dns.TypeA)
		done := make(chan string)
		go func() { done <- marks(c.Lookup(t.Context(), "t.example.com", dns.TypeTXT)) }()
		synctest.Wait()
		begin := time.Now()
		c.Close()
		if got := <-done; got != "canceled" || time.Since(begin) != 0 {
			t.Errorf("the waiting lookup got %s after %s", got, time.Since(begin))
		}
		if got := marks(c.Lookup(t.Context(), "long.example.com", dns.TypeA)); got != "canceled" {
			t.Errorf("a new question got %s", got)
		}
		if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); !strings.HasSuffix(got, " cached") {
			t.Errorf("a stored answer is returned as %s", got)
		}
	})
}
