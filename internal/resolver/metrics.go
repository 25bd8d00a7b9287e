package resolver

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/resolver/upstream"
)

// kind is the kind of a cache entry.
type kind string

const (
	kindPositive kind = "positive"
	kindNegative kind = "negative"
	kindFailure  kind = "failure"
)

// byKind holds one counter for each kind of entry. The counters are looked up only once, because a
// hit must be counted fast.
type byKind struct {
	vec *prometheus.CounterVec
	of  map[kind]prometheus.Counter
}

func newByKind(vec *prometheus.CounterVec, kinds ...kind) byKind {
	b := byKind{vec: vec, of: map[kind]prometheus.Counter{}}
	for _, k := range kinds {
		b.of[k] = vec.WithLabelValues(string(k)) // the series starts at 0
	}
	return b
}

// Metrics are the resolver's series. A nil *Metrics counts nothing.
type Metrics struct {
	upstream  *upstream.Metrics
	hits      byKind
	misses    byKind
	stale     byKind
	prefetch  byKind
	evictions byKind
	coalesced prometheus.Counter
	cache     atomic.Pointer[Cache] // the Cache whose size is shown
}

// NewMetrics registers the resolver's series with reg. All Resolvers that reloads create use the
// same Metrics.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sekimori", Subsystem: "dns", Name: name, Help: help}, []string{"kind"})
	}
	ofServers, err := upstream.NewMetrics(reg)
	m := &Metrics{
		upstream:  ofServers,
		hits:      newByKind(vec("cache_hits_total", "Lookups answered from the cache."), kindPositive, kindNegative, kindFailure),
		misses:    newByKind(vec("cache_misses_total", "Lookups that asked a server, by what it then said."), kindPositive, kindNegative, kindFailure),
		stale:     newByKind(vec("cache_stale_total", "Lookups answered past the TTL because no server did (RFC 8767)."), kindPositive, kindNegative),
		prefetch:  newByKind(vec("cache_prefetch_total", "Hot entries asked for again before their TTL ended."), kindPositive, kindNegative),
		evictions: newByKind(vec("cache_evictions_total", "Entries that made room for others."), kindPositive, kindNegative, kindFailure),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "sekimori", Subsystem: "dns", Name: "coalesced_total",
			Help: "Lookups that waited for the query of another.",
		}),
	}
	errs := []error{err}
	for _, c := range []prometheus.Collector{
		m.hits.vec, m.misses.vec, m.stale.vec, m.prefetch.vec, m.evictions.vec, m.coalesced,
		m.gauge("cache_entries", "Entries in the cache.", (*Cache).entries),
		m.gauge("cache_bytes", "Approximate size of the cache.", (*Cache).bytes),
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *Metrics) gauge(name, help string, value func(*Cache) float64) prometheus.Collector {
	opts := prometheus.GaugeOpts{Namespace: "sekimori", Subsystem: "dns", Name: name, Help: help}
	return prometheus.NewGaugeFunc(opts, func() float64 {
		if c := m.cache.Load(); c != nil {
			return value(c)
		}
		return 0
	})
}

// ofServers returns the part of the metrics that is about the servers.
func (m *Metrics) ofServers() *upstream.Metrics {
	if m == nil {
		return nil
	}
	return m.upstream
}

func (m *Metrics) hit(k kind) {
	if m != nil {
		m.hits.of[k].Inc()
	}
}

func (m *Metrics) miss(k kind) {
	if m != nil {
		m.misses.of[k].Inc()
	}
}

func (m *Metrics) servedStale(k kind) {
	if m != nil {
		m.stale.of[k].Inc()
	}
}

func (m *Metrics) prefetched(k kind) {
	if m != nil {
		m.prefetch.of[k].Inc()
	}
}

func (m *Metrics) evicted(k kind) {
	if m != nil {
		m.evictions.of[k].Inc()
	}
}

func (m *Metrics) joined() {
	if m != nil {
		m.coalesced.Inc()
	}
}

func (m *Metrics) watch(c *Cache) {
	if m != nil {
		m.cache.Store(c)
	}
}
