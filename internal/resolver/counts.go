package resolver

import (
	"sekimori/internal/readout"
	"sekimori/internal/resolver/upstream"
)

// Counts holds the values of Metrics, counted since the start of the daemon. The status page shows
// them.
type Counts struct {
	upstream.Counts
	Hits, Misses, Stale, Evictions int64
	Entries, Bytes                 int64 // present size of the cache
}

// Counts returns the present values.
func (m *Metrics) Counts() Counts {
	c := Counts{
		Counts: m.upstream.Counts(),
		Hits:   m.hits.sum(), Misses: m.misses.sum(), Stale: m.stale.sum(), Evictions: m.evictions.sum(),
	}
	if cache := m.cache.Load(); cache != nil {
		c.Entries, c.Bytes = int64(cache.entries()), int64(cache.bytes())
	}
	return c
}

func (b *byKind) sum() (n int64) {
	for _, counter := range b.of {
		n += int64(readout.Value(counter))
	}
	return n
}
