package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// series finds the metric for label values K. The library hashes and checks
// the values at every call, which would be most of what counting a message
// costs: here it is asked once for each. Label values come from closed sets,
// so that the map stays small.
type series[K comparable, M any] struct {
	resolve func(K) M
	mu      sync.Mutex // held to replace known
	known   atomic.Pointer[map[K]M]
}

// counters are series that count.
type counters[K comparable] = series[K, prometheus.Counter]

func newSeries[K comparable, M any](resolve func(K) M) *series[K, M] {
	s := &series[K, M]{resolve: resolve}
	s.known.Store(&map[K]M{})
	return s
}

// with returns the metric, which is shown from then on.
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
