package telemetry

import (
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestSeries checks that several goroutines that use the same label values count in the
// same metric.
func TestSeries(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := builder{reg}.counters2("test_total", "Of the test.", "a", "b")
	const workers, rounds, values = 8, 200, 5
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range rounds {
				c.with([2]string{"x", fmt.Sprint(i % values)}).Inc()
			}
		})
	}
	wg.Wait()
	for i := range values {
		if got := value(t, reg, "sekimori_test_total", map[string]string{"a": "x", "b": fmt.Sprint(i)}); got != workers*rounds/values {
			t.Errorf("%d: %v", i, got)
		}
	}
}

// TestSeriesAreKept checks that series asks the client library only once for each label
// value.
func TestSeriesAreKept(t *testing.T) {
	asked := 0
	s := newSeries(func(string) int { asked++; return asked })
	if a, b, c := s.with("a"), s.with("b"), s.with("a"); a != 1 || b != 2 || c != 1 || asked != 2 {
		t.Errorf("%d, %d, %d after %d", a, b, c, asked)
	}
}
