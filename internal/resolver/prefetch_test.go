package resolver

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

// prefetching returns a cache over cacheZone in which a.example.com (TTL 60 s) was read so often
// that it is hot.
func prefetching(t *testing.T, cfg CacheConfig) (*Cache, *zone.Zone, *gathered) {
	t.Helper()
	z, m := nameserver.Zone(t, cacheZone), testMetrics(t)
	cfg.Metrics = m.Metrics
	c := cached(t, cfg, z)
	for range hotReads {
		if _, err := c.Lookup(t.Context(), "a.example.com", dns.TypeA); err != nil {
			t.Fatal(err)
		}
	}
	return c, z, m
}

// TestPrefetch: a hot entry is renewed by the first read in the last tenth of its TTL. That read
// does not wait for the new answer.
func TestPrefetch(t *testing.T) {
	read := map[string]func(c *Cache) (dns.Answer, error){
		"Lookup": func(c *Cache) (dns.Answer, error) { return c.Lookup(context.Background(), "a.example.com", dns.TypeA) },
		"Peek": func(c *Cache) (dns.Answer, error) {
			a, ok := c.Peek("a.example.com", dns.TypeA)
			if !ok {
				return a, context.DeadlineExceeded
			}
			return a, nil
		},
	}
	for how, read := range read {
		synctest.Test(t, func(t *testing.T) {
			c, z, m := prefetching(t, cacheDefaults())
			z.Fail("a.example.com", dns.TypeA, zone.Fault{Delay: time.Second})
			look := func(want string, asked int) {
				t.Helper()
				synctest.Wait()
				begin := time.Now()
				if got := marks(read(c)); got != "NOERROR a.example.com "+want+" 192.0.2.1 cached" || time.Since(begin) != 0 {
					t.Errorf("%s: got %s after %s", how, got, time.Since(begin))
				}
				synctest.Wait()
				if n := len(z.Queries()); n != asked {
					t.Errorf("%s: asked %d times, want %d", how, n, asked)
				}
			}
			time.Sleep(54*time.Second - 1)
			look("6.000000001s", 1)
			time.Sleep(time.Nanosecond)
			look("6s", 2)
			look("6s", 2) // no second prefetch
			time.Sleep(time.Second)
			look("1m0s", 2)
			m.Expect(t, map[string]float64{"cache_misses positive": 1, "cache_hits positive": 6, "cache_prefetch positive": 1, "cache_entries": 1})
		})
	}
}

// TestPrefetchOnlyWhatIsHot: an entry is not renewed if it is not read any more, or was read fewer
// than hotReads times.
func TestPrefetchOnlyWhatIsHot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, z, _ := prefetching(t, cacheDefaults())
		time.Sleep(time.Minute)
		if n := len(z.Queries()); n != 1 {
			t.Errorf("asked %d times", n)
		}
		_, _ = c.Lookup(t.Context(), "t.example.com", dns.TypeTXT)
		z.ResetQueries()
		time.Sleep(59 * time.Second)
		for range hotReads - 1 {
			_, _ = c.Lookup(t.Context(), "t.example.com", dns.TypeTXT)
			synctest.Wait()
		}
		if n := len(z.Queries()); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestPrefetchOfNo: a negative answer can be hot too, for example because most domains have no
// DMARC policy.
func TestPrefetchOfNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		cfg := cacheDefaults()
		cfg.Metrics = m.Metrics
		z := nameserver.Zone(t, cacheZone)
		c := cached(t, cfg, z)
		for range hotReads + 1 {
			_, _ = c.Lookup(t.Context(), "no.example.com", dns.TypeTXT)
		}
		time.Sleep(cfg.NegativeTTL - time.Second)
		_, _ = c.Lookup(t.Context(), "no.example.com", dns.TypeTXT)
		synctest.Wait()
		if n := m.Values(t)["cache_prefetch negative"]; n != 1 || len(z.Queries()) != 2 {
			t.Errorf("%v prefetches, %d queries", n, len(z.Queries()))
		}
	})
}

// TestPrefetchFails: a failed prefetch changes nothing before the TTL ends. After that, lookups get
// the stale answer until the question may be asked again.
func TestPrefetchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := cacheDefaults()
		c, z, m := prefetching(t, cfg)
		z.Fail("a.example.com", dns.TypeA, zone.Fault{Kind: zone.ServFail})
		for _, step := range []struct {
			after time.Duration
			want  string
			asked int
		}{
			{55 * time.Second, "5s 192.0.2.1 cached", 2},
			{time.Second, "4s 192.0.2.1 cached", 2},
			{4 * time.Second, "30s 192.0.2.1 cached stale", 2},
			{cfg.FailureTTL, "30s 192.0.2.1 cached stale", 3},
		} {
			time.Sleep(step.after)
			for range hotReads {
				if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != "NOERROR a.example.com "+step.want {
					t.Errorf("got %s, want %s", got, step.want)
				}
			}
			synctest.Wait()
			if n := len(z.Queries()); n != step.asked {
				t.Errorf("%s: asked %d times, want %d", step.want, n, step.asked)
			}
		}
		if got := m.Values(t); got["cache_prefetch positive"] != 1 || got["cache_misses failure"] != 1 {
			t.Errorf("counted %v", got)
		}
	})
}

// TestPrefetchIsJoined: a lookup after the end of the TTL waits for a prefetch that is still
// running.
func TestPrefetchIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, z, _ := prefetching(t, cacheDefaults())
		z.Fail("a.example.com", dns.TypeA, zone.Fault{Delay: 1500 * time.Millisecond})
		time.Sleep(59 * time.Second)
		_, _ = c.Lookup(t.Context(), "a.example.com", dns.TypeA)
		time.Sleep(time.Second)
		begin := time.Now()
		got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA))
		if got != "NOERROR a.example.com 1m0s 192.0.2.1" || time.Since(begin) != 500*time.Millisecond {
			t.Errorf("got %s after %s", got, time.Since(begin))
		}
		if n := len(z.Queries()); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestPrefetchesAreBounded: only maxPrefetches prefetches run at the same time. Further prefetches
// start at a later read. Close ends all prefetches.
func TestPrefetchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := zone.New()
		name := func(i int) dns.Name { return dns.Name(fmt.Sprintf("n%d.example", i)) }
		const n = 2 * maxPrefetches
		for i := range n {
			z.AddTTL(name(i), dns.TypeTXT, time.Minute, dns.Record{Text: "x"})
		}
		c := cached(t, cacheDefaults(), z)
		readAll := func(times int) {
			synctest.Wait()
			for i := range n * times {
				_, _ = c.Lookup(t.Context(), name(i%n), dns.TypeTXT)
			}
			synctest.Wait()
		}
		readAll(hotReads + 1)
		for i := range n {
			z.Fail(name(i), dns.TypeTXT, zone.Fault{Delay: 2 * time.Second})
		}
		z.ResetQueries()
		time.Sleep(55 * time.Second)
		readAll(1)
		if got := len(z.Queries()); got != maxPrefetches {
			t.Errorf("%d at once", got)
		}
		time.Sleep(2 * time.Second)
		readAll(1)
		if got := len(z.Queries()); got != n {
			t.Errorf("%d of %d in the end", got, n)
		}
		c.Close()
		if c.prefetches != 0 || len(c.flights) != 0 {
			t.Errorf("%d prefetches and %d flights after Close", c.prefetches, len(c.flights))
		}
	})
}

// TestNoPrefetch has the states of a cache in which a hot answer is not renewed before its TTL ends.
func TestNoPrefetch(t *testing.T) {
	for _, tt := range []struct {
		why     string
		prepare func(c *Cache)
		asked   int
	}{
		{"nothing is in the way", func(*Cache) {}, 2},
		{"a query is under way", func(c *Cache) { c.flights[key{"a.example.com", dns.TypeA}] = &flight{} }, 1},
		{"a query for another type is under way", func(c *Cache) { c.flights[key{"a.example.com", dns.TypeTXT}] = &flight{} }, 2},
		{"one prefetch less than the most", func(c *Cache) { c.prefetches = maxPrefetches - 1 }, 2},
		{"the most prefetches are under way", func(c *Cache) { c.prefetches = maxPrefetches }, 1},
		{"the cache is closed", func(c *Cache) { c.Close() }, 1},
		{"it was renewed a moment ago", func(c *Cache) {
			k := key{"a.example.com", dns.TypeA}
			e := c.load(k)
			for range 2 {
				c.prefetch(k, e)
				synctest.Wait()
			}
		}, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, z, m := prefetching(t, cacheDefaults())
			tt.prepare(c)
			time.Sleep(55 * time.Second)
			if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != "NOERROR a.example.com 5s 192.0.2.1 cached" {
				t.Errorf("%s: got %s", tt.why, got)
			}
			synctest.Wait()
			if n := m.Values(t)["cache_prefetch positive"]; len(z.Queries()) != tt.asked || int(n) != tt.asked-1 {
				t.Errorf("%s: asked %d times, %v of them before the TTL ended; want %d", tt.why, len(z.Queries()), n, tt.asked)
			}
		})
	}
}

func TestPrefetchFrom(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{time.Minute: 54 * time.Second, 24 * time.Hour: 1296 * time.Minute, 0: 0, 5: 5} {
		if got := prefetchFrom(100, 100+ttl) - 100; got != want {
			t.Errorf("TTL %s: after %s, want %s", ttl, got, want)
		}
	}
}

// TestCachePeek: Peek returns only good answers that are within their TTL.
func TestCachePeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone+"! bad.example.com TXT servfail\n")
		m, cfg := testMetrics(t), cacheDefaults()
		cfg.Metrics = m.Metrics
		c := cached(t, cfg, z)
		if a, ok := c.Peek("t.example.com", dns.TypeTXT); ok {
			t.Errorf("never asked: %+v", a)
		}
		for _, name := range []dns.Name{"t.example.com", "no.example.com", "bad.example.com"} {
			_, _ = c.Lookup(t.Context(), name, dns.TypeTXT)
		}
		asked := len(z.Queries())
		if a, ok := c.Peek("bad.example.com", dns.TypeTXT); ok || m.Values(t)["cache_hits failure"] != 0 {
			t.Errorf("a failure that is remembered: %+v, or a hit", a)
		}
		time.Sleep(20 * time.Second)
		for name, want := range map[dns.Name]string{
			"t.example.com":   marks(c.Lookup(t.Context(), "t.example.com", dns.TypeTXT)),
			"no.example.com":  marks(c.Lookup(t.Context(), "no.example.com", dns.TypeTXT)),
			"bad.example.com": "",
		} {
			got := ""
			if a, ok := c.Peek(name, dns.TypeTXT); ok {
				got = marks(a, nil)
			}
			if got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		time.Sleep(40 * time.Second) // to the end of the TTL, while the answer may still be returned as a stale one
		if a, ok := c.Peek("t.example.com", dns.TypeTXT); ok {
			t.Errorf("past its TTL: %+v", a)
		}
		if n := len(z.Queries()); n != asked {
			t.Errorf("%d questions by peeking", n-asked)
		}
	})
}

// TestPrefetchIsNotStale: if the configuration allows no stale answers, a lookup that waits for a
// prefetch after the TTL does not get one.
func TestPrefetchIsNotStale(t *testing.T) {
	for _, tt := range []struct {
		reason string
		fault  zone.Fault
		wait   time.Duration // how long the caller may wait
		want   string
		after  time.Duration
	}{
		{"the new answer comes after staleAfter", zone.Fault{Delay: 4 * time.Second}, time.Minute,
			"NOERROR a.example.com 1m0s 192.0.2.1", 3 * time.Second},
		{"a failure comes", zone.Fault{Delay: 2 * time.Second, Kind: zone.ServFail}, time.Minute, "servfail", time.Second},
		{"the caller's time is up", zone.Fault{Delay: 4 * time.Second}, time.Second, "timeout", time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg := cacheDefaults()
			cfg.Stale = 0
			c, z, _ := prefetching(t, cfg)
			z.Fail("a.example.com", dns.TypeA, tt.fault)
			time.Sleep(59 * time.Second)
			_, _ = c.Lookup(t.Context(), "a.example.com", dns.TypeA)
			time.Sleep(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), tt.wait)
			defer cancel()
			begin := time.Now()
			if got := marks(c.Lookup(ctx, "a.example.com", dns.TypeA)); got != tt.want || time.Since(begin) != tt.after {
				t.Errorf("%s: got %s after %s, want %s after %s", tt.reason, got, time.Since(begin), tt.want, tt.after)
			}
			c.Close()
		})
	}
}
