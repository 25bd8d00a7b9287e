package readout

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestValue(t *testing.T) {
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "c"})
	counter.Add(3)
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"})
	gauge.Set(-2.5)
	if c, g := Value(counter), Value(gauge); c != 3 || g != -2.5 {
		t.Errorf("counter %v, gauge %v", c, g)
	}
}

// TestTimes checks histograms of both kinds: with buckets, and native ones.
func TestTimes(t *testing.T) {
	for _, o := range []prometheus.HistogramOpts{{Name: "h", Buckets: []float64{1, 5}}, {Name: "n", NativeHistogramBucketFactor: 1.1}} {
		h := prometheus.NewHistogram(o)
		h.Observe(0.25)
		h.Observe(7)
		if got, want := Times(h), (Timing{Count: 2, Seconds: 7.25}); got != want {
			t.Errorf("%s: %v, want %v", o.Name, got, want)
		}
	}
}
