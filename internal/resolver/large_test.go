package resolver

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
)

// TestLargeAnswers: a large answer is stored for at most a minute and never returned as a stale
// one. An answer that is one octet smaller is stored for its TTL.
func TestLargeAnswers(t *testing.T) {
	for octets, want := range map[int]time.Duration{maxSmallText: time.Hour, maxSmallText + 1: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			z := zone.New().AddTTL("x.example", dns.TypeTXT, time.Hour, dns.Record{Text: strings.Repeat("x", octets)})
			c := cached(t, cacheDefaults(), z)
			a, err := c.Lookup(t.Context(), "x.example", dns.TypeTXT)
			if err != nil || a.TTL != want {
				t.Errorf("%d octets: kept for %v, %v", octets, a.TTL, err)
			}
			time.Sleep(want)
			z.Fail("x.example", dns.TypeTXT, zone.Fault{Kind: zone.ServFail})
			if _, err := c.Lookup(t.Context(), "x.example", dns.TypeTXT); (err != nil) != (octets > maxSmallText) {
				t.Errorf("%d octets: past the TTL %v", octets, err)
			}
		})
	}
}

// TestPurgeEmpties: after Purge, neither a small nor a large answer of before is found or counted.
func TestPurgeEmpties(t *testing.T) {
	for _, octets := range []int{1, maxSmallText + 1} {
		z := zone.New().AddTTL("x.example", dns.TypeTXT, time.Hour, dns.Record{Text: strings.Repeat("x", octets)})
		cfg := cacheDefaults()
		cfg.Metrics = testMetrics(t).Metrics
		c := cached(t, cfg, z)
		if _, err := c.Lookup(t.Context(), "x.example", dns.TypeTXT); err != nil {
			t.Fatal(err)
		}
		if n := cfg.Metrics.Counts(); n.Entries != 1 || n.Bytes < int64(octets) || n.Misses != 1 {
			t.Errorf("%d octets: counted %+v", octets, n)
		}
		if _, ok := c.Peek("x.example", dns.TypeTXT); !ok {
			t.Errorf("%d octets: not kept", octets)
		}
		c.Purge()
		if _, ok := c.Peek("x.example", dns.TypeTXT); ok {
			t.Errorf("%d octets: found after Purge", octets)
		}
		if n := cfg.Metrics.Counts(); n.Entries != 0 || n.Bytes != 0 {
			t.Errorf("%d octets: after Purge %+v", octets, n)
		}
	}
}

// TestLargeAnswersFlushNothing: large answers at many names do not push other answers out
// of the cache.
func TestLargeAnswersFlushNothing(t *testing.T) {
	z := zone.New().AddTTL("*.evil.example", dns.TypeTXT, 24*time.Hour, dns.Record{Text: strings.Repeat("x", 30<<10)})
	for i := range 500 {
		z.Add(dns.Name(fmt.Sprintf("h%d.example", i)), dns.TypeTXT, dns.Record{Text: "v=spf1 -all"})
	}
	cfg := cacheDefaults()
	cfg.Size = 1 << 20
	c := cached(t, cfg, z)
	look := func(name dns.Name) {
		if _, err := c.Lookup(t.Context(), name, dns.TypeTXT); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 {
		look(dns.Name(fmt.Sprintf("h%d.example", i)))
	}
	for i := range 200 { // together six times the size of the cache; each is read five times
		for range 5 {
			look(dns.Name(fmt.Sprintf("e%d.evil.example", i)))
		}
	}
	c.store.CleanUp()
	c.large.CleanUp()
	for i := range 500 {
		if _, ok := c.Peek(dns.Name(fmt.Sprintf("h%d.example", i)), dns.TypeTXT); !ok {
			t.Fatalf("answer %d made room for a large one", i)
		}
	}
	if n := c.large.WeightedSize(); n > uint64(cfg.Size/largePart) {
		t.Errorf("large answers take %d octets", n)
	}
}

// TestSizesOfStores: the two stores together have the size of the cache, and each has room for something.
func TestSizesOfStores(t *testing.T) {
	for size, want := range map[int64][2]uint64{1: {1, 1}, largePart - 1: {largePart - 1, 1}, largePart: {largePart - 1, 1}, 100 * largePart: {100 * (largePart - 1), 100}} {
		cfg := cacheDefaults()
		cfg.Size = size
		c := cached(t, cfg, zone.New())
		if got := [2]uint64{c.store.GetMaximum(), c.large.GetMaximum()}; got != want {
			t.Errorf("%d octets: %d, want %d", size, got, want)
		}
	}
}

// TestLargeAndSmall: an answer whose size changes is in only one of the two stores.
func TestLargeAndSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := zone.New()
		c := cached(t, cacheDefaults(), z)
		for _, octets := range []int{5000, 10, 5000} {
			z.Remove("x.example").Add("x.example", dns.TypeTXT, dns.Record{Text: strings.Repeat("x", octets)})
			a, err := c.Lookup(t.Context(), "x.example", dns.TypeTXT)
			if err != nil || len(a.Records[0].Text) != octets || c.entries() != 1 {
				t.Errorf("%d octets: %d, %v, %v entries", octets, len(a.Records[0].Text), err, c.entries())
			}
			time.Sleep(time.Hour)
		}
	})
}
