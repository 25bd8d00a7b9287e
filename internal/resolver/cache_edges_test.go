package resolver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
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
		c := cached(t, cacheDefaults(), nameserver.Func(func(ctx context.Context, name dns.Name, _ dns.Type) (dns.Answer, error) {
			contexts <- ctx
			if name == "late.example" {
				<-ctx.Done()
			}
			return dns.Answer{TTL: time.Minute}, nil
		}))
		_, _ = c.Lookup(t.Context(), "x.example", dns.TypeA)
		synctest.Wait()
		if err := (<-contexts).Err(); err == nil {
			t.Error("the context of the query goes on")
		}
		go func() { _, _ = c.Lookup(t.Context(), "late.example", dns.TypeA) }()
		<-contexts
		c.Close()
		if a, err := c.Lookup(t.Context(), "late.example", dns.TypeA); err != nil || !a.Cached {
			t.Errorf("the late answer is lost: %+v, %v", a, err)
		}
		_, err := c.Lookup(t.Context(), "closed.example", dns.TypeA)
		if synctest.Wait(); !errors.Is(err, errClosed) || len(contexts) != 0 {
			t.Errorf("after Close: %v, asked %d times", err, len(contexts))
		}
	})
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
