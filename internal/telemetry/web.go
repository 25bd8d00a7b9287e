package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/indicators"
	"sekimori/internal/webfetch"
)

// Web counts what is fetched from web servers. Its series exist from the start.
type Web struct {
	fetched map[webfetch.Kind]map[webfetch.Result]prometheus.Counter
}

// NewWeb registers the series.
func NewWeb(reg prometheus.Registerer) *Web {
	vec := builder{reg}.counterVec("webfetch_total", "Fetches from web servers, by what was fetched and how it ended.", "kind", "result")
	w := &Web{fetched: map[webfetch.Kind]map[webfetch.Result]prometheus.Counter{}}
	for _, k := range webfetch.Kinds {
		w.fetched[k] = map[webfetch.Result]prometheus.Counter{}
		for _, r := range webfetch.Results {
			w.fetched[k][r] = vec.WithLabelValues(string(k), string(r))
		}
	}
	return w
}

// Fetched counts a fetch.
func (w *Web) Fetched(k webfetch.Kind, r webfetch.Result) { w.fetched[k][r].Inc() }

// RegisterMarks registers the series about the marks in memory. ends returns when the first root and the
// first certificate end; a zero time means that there is none.
func RegisterMarks(reg prometheus.Registerer, c *indicators.Counts, ends func() (root, certificate time.Time)) {
	counter := func(name, help string, n func() int64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, func() float64 { return float64(n()) }))
	}
	gauge := func(name, help string, n func() int64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, func() float64 { return float64(n()) }))
	}
	counter("webfetch_cache_hits_total", "Questions for a mark that memory answered, also with what is wrong with it.", c.Hits.Load)
	counter("webfetch_cache_misses_total", "Questions for a mark that is not known, or no longer.", c.Misses.Load)
	counter("webfetch_cache_stale_total", "Questions answered with a mark that is too old, because its web server gives no newer one.", c.Stale.Load)
	counter("webfetch_cache_evictions_total", "Answers about marks that made room for others.", c.Evictions.Load)
	counter("webfetch_dropped_total", "Marks that were not fetched, because too many wait.", c.Dropped.Load)
	gauge("webfetch_cache_entries", "Answers about marks in memory.", c.Entries.Load)
	gauge("webfetch_cache_bytes", "Approximate size of the answers about marks in memory.", c.Octets.Load)
	seconds := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.Unix()
	}
	gauge("bimi_root_end_timestamp_seconds", "When the first root of mark certificates ends; 0 if marks are off.", func() int64 {
		root, _ := ends()
		return seconds(root)
	})
	gauge("bimi_certificate_end_timestamp_seconds", "When the first certificate of the marks in memory ends; 0 if there is none.", func() int64 {
		_, certificate := ends()
		return seconds(certificate)
	})
}
