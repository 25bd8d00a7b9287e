package resolver

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
)

// Result is how a query to a server ended, as the metrics say it.
type Result string

// The results. ResultTimeout covers every way of getting no answer, an
// unreachable server included; ResultMalformed also counts packets that were
// no answer to anything asked.
const (
	ResultNoError   Result = "noerror"
	ResultNoData    Result = "nodata"
	ResultNXDomain  Result = "nxdomain"
	ResultServFail  Result = "servfail"
	ResultRefused   Result = "refused"
	ResultTimeout   Result = "timeout"
	ResultMalformed Result = "malformed"
)

// kind is the sort of a cache entry.
type kind string

const (
	kindPositive kind = "positive"
	kindNegative kind = "negative"
	kindFailure  kind = "failure"
)

// byKind holds one counter for each sort of entry, looked up once: hits are
// counted on the fast path.
type byKind struct {
	vec *prometheus.CounterVec
	of  map[kind]prometheus.Counter
}

func newByKind(vec *prometheus.CounterVec, kinds ...kind) byKind {
	b := byKind{vec: vec, of: map[kind]prometheus.Counter{}}
	for _, k := range kinds {
		b.of[k] = vec.WithLabelValues(string(k)) // and it starts at 0
	}
	return b
}

// Metrics are the resolver's series. A nil *Metrics counts nothing.
type Metrics struct {
	queries   *prometheus.CounterVec
	duration  prometheus.Histogram
	hits      byKind
	misses    byKind
	stale     byKind
	prefetch  byKind
	evictions byKind
	coalesced prometheus.Counter
	upstream  *upstreamMetrics
	cache     atomic.Pointer[Cache] // the one whose size is shown
}

// NewMetrics registers the resolver's series with reg. They may outlive a
// Resolver: one set serves every one a reload makes.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sekimori", Subsystem: "dns", Name: name, Help: help}, labels)
	}
	m := &Metrics{
		upstream:  newUpstreamMetrics(),
		queries:   vec("queries_total", "Queries to DNS servers by their result.", "type", "result"),
		hits:      newByKind(vec("cache_hits_total", "Lookups answered from the cache.", "kind"), kindPositive, kindNegative, kindFailure),
		misses:    newByKind(vec("cache_misses_total", "Lookups that asked a server, by what it then said.", "kind"), kindPositive, kindNegative, kindFailure),
		stale:     newByKind(vec("cache_stale_total", "Lookups answered past the TTL because no server did (RFC 8767).", "kind"), kindPositive, kindNegative),
		prefetch:  newByKind(vec("cache_prefetch_total", "Hot entries asked for again before their TTL ended.", "kind"), kindPositive, kindNegative),
		evictions: newByKind(vec("cache_evictions_total", "Entries that made room for others.", "kind"), kindPositive, kindNegative, kindFailure),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "sekimori", Subsystem: "dns", Name: "coalesced_total",
			Help: "Lookups that waited for the query of another.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "sekimori", Subsystem: "dns", Name: "query_duration_seconds",
			Help:    "Time one query to one server took, whatever its result.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5}, NativeHistogramBucketFactor: 1.1,
			NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.queries, m.duration, m.hits.vec, m.misses.vec, m.stale.vec, m.prefetch.vec, m.evictions.vec, m.coalesced,
		m.gauge("cache_entries", "Entries in the cache.", (*Cache).entries),
		m.gauge("cache_bytes", "Approximate size of the cache.", (*Cache).bytes),
	} {
		errs = append(errs, reg.Register(c))
	}
	m.startAtZero()
	return m, errors.Join(append(errs, m.upstream.register(reg))...)
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

// startAtZero makes every series of queries exist, so that its first event is
// a rise.
func (m *Metrics) startAtZero() {
	for _, t := range []dns.Type{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypePTR, dns.TypeCNAME, 0} {
		for _, r := range []Result{ResultNoError, ResultNoData, ResultNXDomain, ResultServFail, ResultRefused, ResultTimeout, ResultMalformed} {
			m.queries.WithLabelValues(typeLabel(t), string(r))
		}
	}
}

// query counts one query. A packet that was ignored took no time of its own:
// took is 0.
func (m *Metrics) query(t dns.Type, r Result, took time.Duration) {
	if m == nil {
		return
	}
	m.queries.WithLabelValues(typeLabel(t), string(r)).Inc()
	if took > 0 {
		m.duration.Observe(took.Seconds())
	}
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

// typeLabel keeps the label's values few whatever is asked.
func typeLabel(t dns.Type) string {
	switch t {
	case dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypePTR, dns.TypeCNAME:
		return t.String()
	}
	return "other"
}

func resultOf(r reply, err *dns.Error) Result {
	if err != nil {
		switch err.Kind {
		case dns.KindTimeout, dns.KindNetwork:
			return ResultTimeout
		case dns.KindRefused:
			return ResultRefused
		case dns.KindMalformed:
			return ResultMalformed
		}
		return ResultServFail
	}
	switch {
	case r.answer.Status == dns.NXDomain:
		return ResultNXDomain
	case r.answer.Void() && !r.follow:
		return ResultNoData
	}
	return ResultNoError
}
