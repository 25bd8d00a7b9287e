package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// series finds the metric for the label values K. The client library hashes and checks
// label values at every call, which would take more time than all other work of counting a
// message. series therefore asks the library only once for each K and remembers the metric.
// There are few different values of K, so the map stays small.
type series[K comparable, M any] struct {
	resolve func(K) M
	mu      sync.Mutex // held while `known` is replaced
	known   atomic.Pointer[map[K]M]
}

// counters is a series of counters.
type counters[K comparable] = series[K, prometheus.Counter]

func newSeries[K comparable, M any](resolve func(K) M) *series[K, M] {
	s := &series[K, M]{resolve: resolve}
	s.known.Store(&map[K]M{})
	return s
}

// with returns the metric for these label values. It creates the metric if there is
// none. The metric is exposed from then on.
func (s *series[K, M]) with(values K) M {
	if m, ok := (*s.known.Load())[values]; ok {
		return m
	}
	m := s.resolve(values)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := maps.Clone(*s.known.Load())
	known[values] = m
	s.known.Store(&known)
	return m
}
