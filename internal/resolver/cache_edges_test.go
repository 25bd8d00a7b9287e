package resolver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
)

// TestCacheSurvivesPanic: a panic of the resolver behind the cache becomes a failure, whether anybody is told of
// it or not. It happens in a goroutine of the cache, where it would end the process.
func TestCacheSurvivesPanic(t *testing.T) {
	var told any
	for _, onPanic := range []func(any){nil, func(p any) { told = p }} {
		cfg := cacheDefaults()
		cfg.OnPanic = onPanic
		c := cached(t, cfg, nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) { panic("boom") }))
		_, err := c.Lookup(t.Context(), "x.example", dns.TypeA)
		if nameserver.Show(dns.Answer{}, err) != "malformed" || !errors.Is(err, errPanic) || (told == "boom") != (onPanic != nil) {
			t.Errorf("got %v, told %v", err, told)
		}
	}
}

// meanwhile is a context that does something when a lookup looks whether its time is over.
type meanwhile struct {
	context.Context
	do func()
}

func (m meanwhile) Err() error {
	m.do()
	return m.Context.Err()
}

// TestAnswerComesMeanwhile: a lookup that found nothing and then finds an answer of another lookup asks nobody.
func TestAnswerComesMeanwhile(t *testing.T) {
	z := nameserver.Zone(t, cacheZone)
	c := cached(t, cacheDefaults(), z)
	ctx := meanwhile{t.Context(), func() { _, _ = c.Lookup(t.Context(), "a.example.com", dns.TypeA) }}
	a, err := c.Lookup(ctx, "a.example.com", dns.TypeA)
	if err != nil || !a.Cached || len(a.Records) != 1 || len(z.Queries()) != 1 {
		t.Errorf("%+v, %v, asked %d times", a, err, len(z.Queries()))
	}
}

// TestLookupWithoutTime: a lookup whose time is over asks nobody.
func TestLookupWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone)
		c := cached(t, cacheDefaults(), z)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		got := nameserver.Show(c.Lookup(ctx, "a.example.com", dns.TypeA))
		synctest.Wait() // a query would be asked in a goroutine
		if n := len(z.Queries()); got != "canceled" || n != 0 {
			t.Errorf("got %s, asked %d times", got, n)
		}
	})
}

// TestQueryEnds: an answer that comes when the query is given up is stored. When a query has ended, its context
// has ended too, so nothing is left of it.
func TestQueryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		contexts := make(chan context.Context, 2)
		const takes = time.Second
		c := cached(t, cacheDefaults(), nameserver.Func(func(ctx context.Context, name dns.Name, _ dns.Type) (dns.Answer, error) {
			contexts <- ctx
			switch name {
			case "late.example":
				<-ctx.Done()
			case "orphan.example":
				time.Sleep(takes)
			}
			return dns.Answer{TTL: time.Minute}, nil
		}))
		for _, name := range []dns.Name{"x.example", "orphan.example"} { // the second has no waiter left when it ends
			hurried, cancel := context.WithTimeout(t.Context(), takes/2)
			_, _ = c.Lookup(hurried, name, dns.TypeA)
			cancel()
			time.Sleep(takes)
			synctest.Wait()
			if err := (<-contexts).Err(); err == nil {
				t.Errorf("%s: the context of the query goes on", name)
			}
			if flights, orphans, _ := c.underWay(); flights != 0 || orphans != 0 {
				t.Errorf("%s: %d flights and %d orphans are left", name, flights, orphans)
			}
		}
		time.Sleep(2 * time.Minute) // what is known may be served stale, but not by a closed cache
		go func() { _, _ = c.Lookup(t.Context(), "late.example", dns.TypeA) }()
		<-contexts
		c.Close()
		if a, err := c.Lookup(t.Context(), "x.example", dns.TypeA); !errors.Is(err, errClosed) {
			t.Errorf("after Close: %+v, %v", a, err)
		}
		if a, err := c.Lookup(t.Context(), "late.example", dns.TypeA); err != nil || !a.Cached {
			t.Errorf("the late answer is lost: %+v, %v", a, err)
		}
		_, err := c.Lookup(t.Context(), "closed.example", dns.TypeA)
		if synctest.Wait(); !errors.Is(err, errClosed) || len(contexts) != 0 {
			t.Errorf("after Close: %v, asked %d times", err, len(contexts))
		}
	})
}

// TestGivenUpSaysNothing: the failure of a query that the cache itself gave up is not stored, whatever its kind. The
// next lookup asks.
func TestGivenUpSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		c := cached(t, cacheDefaults(), nameserver.Func(func(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
			if asked.Add(1) > 1 {
				return dns.Answer{TTL: time.Minute}, nil
			}
			<-ctx.Done()
			return dns.Answer{}, &dns.Error{Kind: dns.KindServFail, Name: name, Type: typ}
		}))
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _ = c.Lookup(hurried, "x.example", dns.TypeA)
		c.mu.Lock()
		k := key{"x.example", dns.TypeA}
		c.abandon(k, c.flights[k])
		c.mu.Unlock()
		synctest.Wait()
		if _, err := c.Lookup(t.Context(), "x.example", dns.TypeA); err != nil || asked.Load() != 2 {
			t.Errorf("after %d questions: %v", asked.Load(), err)
		}
	})
}

// TestStaleIsEvicted: a stale answer may leave the stores while the question is asked again.
func TestStaleIsEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := nameserver.Zone(t, cacheZone)
		c := cached(t, cacheDefaults(), z)
		_, _ = c.Lookup(t.Context(), "a.example.com", dns.TypeA)
		time.Sleep(time.Minute)
		z.Fail("a.example.com", dns.TypeA, zone.Fault{Kind: zone.ServFail, Delay: time.Second})
		time.AfterFunc(time.Second/2, func() { c.store.Invalidate(key{"a.example.com", dns.TypeA}) })
		if got := marks(c.Lookup(t.Context(), "a.example.com", dns.TypeA)); got != "NOERROR a.example.com 30s 192.0.2.1 cached stale" {
			t.Errorf("got %s", got)
		}
	})
}

// TestNothingAhead: the cache does not look ahead, and does not queue by itself.
func TestNothingAhead(t *testing.T) {
	z := nameserver.Zone(t, cacheZone)
	c := cached(t, cacheDefaults(), z)
	if c.Expect(t.Context(), "a.example.com", dns.TypeA) || c.Queued() || len(z.Queries()) != 0 {
		t.Errorf("asked %q", z.Queries())
	}
}

// TestCacheConcurrentUse looks up many names in many goroutines, with evictions, purges and
// failures. It is meant for the race detector.
func TestCacheConcurrentUse(t *testing.T) {
	z := zone.New()
	for i := range 50 {
		z.Add(dns.Name(fmt.Sprintf("n%d.example", i)), dns.TypeTXT, dns.Record{Text: strings.Repeat("x", 500)})
	}
	z.Fail("n7.example", dns.TypeTXT, zone.Fault{Kind: zone.ServFail})
	cfg := cacheDefaults()
	cfg.Size = 20 << 10
	c := cached(t, cfg, z)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				n := (i*7 + g) % 60
				a, err := c.Lookup(t.Context(), dns.Name(fmt.Sprintf("n%d.example", n)), dns.TypeTXT)
				if (err != nil) != (n == 7) || (err == nil && (n >= 50) != (a.Status == dns.NXDomain)) {
					t.Errorf("n%d: %+v, %v", n, a, err)
				}
				if i%100 == 99 {
					c.Purge()
				}
			}
		})
	}
	wg.Wait()
}
