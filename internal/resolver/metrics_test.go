package resolver

import (
	"maps"
	"slices"
	"testing"

	"sekimori/internal/testkit/nameserver"
)

// gathered is a Metrics with the registry in which it is registered.
type gathered struct {
	*Metrics
	nameserver.Series
}

func testMetrics(t *testing.T) *gathered {
	t.Helper()
	reg := nameserver.NewSeries()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	return &gathered{m, reg}
}

func TestSeriesStartAtZero(t *testing.T) {
	m := testMetrics(t)
	got := m.Values(t)
	// Number of series: queries, duration, hits, misses, stale, prefetch, evictions,
	// coalesced, gauges, hedges, probes, TCP, EDNS and TLS.
	want := 7*7 + 1 + 3 + 3 + 2 + 2 + 3 + 1 + 2 + 3 + 2 + 3 + 1 + 2
	if len(got) != want {
		t.Errorf("%d series, want %d: %v", len(got), want, slices.Sorted(maps.Keys(got)))
	}
	for k, v := range got {
		if v != 0 {
			t.Errorf("%s starts at %v", k, v)
		}
	}
}

func TestRegisteringTwiceFails(t *testing.T) {
	m := testMetrics(t)
	if _, err := NewMetrics(m); err == nil {
		t.Error("the same series twice in one registry")
	}
	var nothing *Metrics // a nil *Metrics must not panic
	nothing.hit(kindPositive)
	nothing.miss(kindPositive)
	nothing.servedStale(kindPositive)
	nothing.evicted(kindPositive)
	nothing.prefetched(kindPositive)
	nothing.joined()
	nothing.watch(nil)
}

// TestCounts: Counts returns the values of the series.
func TestCounts(t *testing.T) {
	m := testMetrics(t)
	for _, k := range []kind{kindPositive, kindNegative} {
		m.hit(k)
		m.hit(k)
		m.servedStale(k)
	}
	m.miss(kindFailure)
	m.evicted(kindFailure)
	c := m.Counts()
	if c.Hits != 4 || c.Misses != 1 || c.Stale != 2 || c.Evictions != 1 || c.Entries != 0 || c.Bytes != 0 || len(c.Queries) != 7 {
		t.Errorf("%+v", c)
	}
}
