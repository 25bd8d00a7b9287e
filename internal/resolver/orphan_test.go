package resolver

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

// open is a resolver that answers after a given time and counts its lookups.
type open struct {
	dns.LookupOnly
	mu           sync.Mutex
	takes        time.Duration
	now, most    int
	asked, ended int
}

func (o *open) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	o.mu.Lock()
	o.now++
	o.asked++
	o.most = max(o.most, o.now)
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		o.now--
		o.mu.Unlock()
	}()
	select {
	case <-time.After(o.takes):
		return dns.Answer{Name: name, Type: typ, Canonical: name, TTL: time.Minute, Records: []dns.Record{{Text: "x"}}}, nil
	case <-ctx.Done():
		o.mu.Lock()
		o.ended++
		o.mu.Unlock()
		return dns.Answer{}, &dns.Error{Kind: dns.KindCanceled, Name: name, Type: typ, Err: ctx.Err()}
	}
}

// counts returns the counters of o. Lookups may still be running.
func (o *open) counts() (now, most, asked, ended int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now, o.most, o.asked, o.ended
}

// underWay returns the number of flights, of orphans and of prefetches.
func (c *Cache) underWay() (flights, orphans, prefetches int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.flights), c.orphans.Len(), c.prefetches
}

// TestQuestionsNobodyWaitsFor: however many lookups start a query and end before its answer, at
// most maxOrphans queries go on for which no lookup waits.
func TestQuestionsNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := testMetrics(t)
		cfg := cacheDefaults()
		cfg.Metrics = m.Metrics
		next := &open{takes: 9 * time.Second}
		c := cached(t, cfg, next)
		for i := range 1000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := c.Lookup(ctx, dns.Name(fmt.Sprintf("h%d.example", i)), dns.TypeTXT); err == nil {
				t.Fatal("an answer")
			}
			cancel()
		}
		synctest.Wait()
		now, most, _, ended := next.counts()
		flights, orphans, _ := c.underWay()
		if now > maxOrphans || most > maxOrphans+2 || flights > maxOrphans || orphans != flights {
			t.Errorf("%d questions are open, %d were at a time, %d flights, %d orphans", now, most, flights, orphans)
		}
		if ended != 1000-maxOrphans {
			t.Errorf("%d questions were given up", ended)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		now, _, asked, _ := next.counts()
		flights, orphans, _ = c.underWay()
		if now != 0 || orphans != 0 || flights != 0 {
			t.Errorf("left: %d questions, %d orphans, %d flights", now, orphans, flights)
		}
		// The last orphans were not given up, and Peek finds their answers.
		for i := 1000 - maxOrphans; i < 1000; i++ {
			if _, ok := c.Peek(dns.Name(fmt.Sprintf("h%d.example", i)), dns.TypeTXT); !ok {
				t.Errorf("question %d was given up", i)
			}
		}
		if _, _, again, _ := next.counts(); again != asked {
			t.Error("asked again")
		}
		m.Expect(t, map[string]float64{
			"cache_misses positive": maxOrphans, "cache_misses failure": 0, "cache_entries": maxOrphans, "cache_hits positive": maxOrphans,
		})
	})
}

// TestOrphanIsAdopted: an orphan is not given up if a lookup waits for it again. A question whose
// query was given up is asked again.
func TestOrphanIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &open{takes: 5 * time.Second}
		c := cached(t, cacheDefaults(), next)
		leave := func(name dns.Name) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, _ = c.Lookup(ctx, name, dns.TypeTXT)
		}
		leave("kept.example")
		leave("lost.example")
		var waits sync.WaitGroup
		for _, name := range []dns.Name{"kept.example", "kept.example", "kept.example", "once.example"} {
			waits.Go(func() {
				if _, err := c.Lookup(t.Context(), name, dns.TypeTXT); err != nil {
					t.Errorf("a lookup still waited for it: %v", err)
				}
			})
		}
		synctest.Wait()
		leave("once.example")
		if _, orphans, _ := c.underWay(); orphans != 1 {
			t.Errorf("%d orphans, want the lost one", orphans)
		}
		for i := range 2 * maxOrphans {
			leave(dns.Name(fmt.Sprintf("h%d.example", i)))
		}
		synctest.Wait()
		_, _, before, _ := next.counts()
		begin := time.Now()
		_, err := c.Lookup(t.Context(), "lost.example", dns.TypeTXT)
		if _, _, asked, _ := next.counts(); err != nil || time.Since(begin) != 5*time.Second || asked != before+1 {
			t.Errorf("asked anew: %v after %v", err, time.Since(begin))
		}
		waits.Wait()
	})
}

// TestPrefetchIsNoOrphan: a prefetch does not become an orphan, even if a lookup waited for it and
// has ended.
func TestPrefetchIsNoOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, "hot.example 60 TXT x")
		c := cached(t, cacheDefaults(), z)
		for range hotReads + 1 {
			_, _ = c.Lookup(t.Context(), "hot.example", dns.TypeTXT)
		}
		z.Fail("hot.example", dns.TypeTXT, zone.Fault{Delay: 8 * time.Second})
		time.Sleep(55 * time.Second)
		_, _ = c.Lookup(t.Context(), "hot.example", dns.TypeTXT) // begins the prefetch
		time.Sleep(6 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _ = c.Lookup(ctx, "hot.example", dns.TypeTXT)
		if _, orphans, prefetches := c.underWay(); orphans != 0 || prefetches != 1 {
			t.Errorf("%d orphans, %d prefetches", orphans, prefetches)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if flights, _, prefetches := c.underWay(); flights != 0 || prefetches != 0 {
			t.Errorf("%d prefetches, %d flights", prefetches, flights)
		}
	})
}
