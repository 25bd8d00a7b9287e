package resolver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func benchCache(b *testing.B, next dns.Resolver, size int64) *Cache {
	b.Helper()
	cfg := cacheDefaults()
	cfg.Size = size
	c, err := NewCache(next, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

func BenchmarkCacheHit(b *testing.B) {
	c := benchCache(b, nameserver.Zone(b, "a.example 3600 TXT text"), 1<<20)
	if _, err := c.Lookup(b.Context(), "a.example", dns.TypeTXT); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Lookup(b.Context(), "a.example", dns.TypeTXT); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCacheHitParallel(b *testing.B) {
	c := benchCache(b, nameserver.Zone(b, "a.example 3600 TXT text"), 1<<20)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Lookup(context.Background(), "a.example", dns.TypeTXT); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkCoalesced measures sixteen goroutines that ask the same question at the same time. One
// query answers all of them.
func BenchmarkCoalesced(b *testing.B) {
	const waiters = 16
	c := benchCache(b, nameserver.Func(func(_ context.Context, n dns.Name, t dns.Type) (dns.Answer, error) {
		return dns.Answer{Name: n, Type: t, Canonical: n}, nil
	}), 0)
	b.ReportAllocs()
	for b.Loop() {
		var wg sync.WaitGroup
		for range waiters {
			wg.Go(func() { _, _ = c.Lookup(context.Background(), "a.example", dns.TypeTXT) })
		}
		wg.Wait()
	}
}

// BenchmarkCacheMissAndEvict measures lookups of new questions while the cache is full.
func BenchmarkCacheMissAndEvict(b *testing.B) {
	record := []dns.Record{{Text: strings.Repeat("x", 400)}}
	c := benchCache(b, nameserver.Func(func(_ context.Context, n dns.Name, t dns.Type) (dns.Answer, error) {
		return dns.Answer{Name: n, Type: t, Canonical: n, Records: record, TTL: 3600e9}, nil
	}), 1<<20)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_, _ = c.Lookup(b.Context(), dns.Name(fmt.Sprintf("n%d.example", i)), dns.TypeTXT)
		i++
	}
}

// BenchmarkPeekParallel measures Peek of a cached answer, in many goroutines at the same time.
func BenchmarkPeekParallel(b *testing.B) {
	c := benchCache(b, nameserver.Zone(b, "a.example 3600 TXT text"), 1<<20)
	if _, err := c.Lookup(b.Context(), "a.example", dns.TypeTXT); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := c.Peek("a.example", dns.TypeTXT); !ok {
				b.Error("not known")
				return
			}
		}
	})
}

// TestHitsDoNotAllocate: a cache hit does not allocate memory.
func TestHitsDoNotAllocate(t *testing.T) {
	c := cached(t, cacheDefaults(), nameserver.Zone(t, "a.example 3600 TXT text"))
	ctx := t.Context()
	if _, err := c.Lookup(ctx, "a.example", dns.TypeTXT); err != nil {
		t.Fatal(err)
	}
	for how, read := range map[string]func(){
		"Lookup": func() { _, _ = c.Lookup(ctx, "a.example", dns.TypeTXT) },
		"Peek":   func() { _, _ = c.Peek("a.example", dns.TypeTXT) },
	} {
		if n := testing.AllocsPerRun(1000, read); n != 0 {
			t.Errorf("%s: %v allocations", how, n)
		}
	}
}
