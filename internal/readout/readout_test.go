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
		if got := Times(h); got.Count != 2 || got.Seconds != 7.25 {
			t.Errorf("%s: %v", o.Name, got)
		}
	}
}

// TestQuantiles compares the quantiles with those of the durations themselves. A native bucket
// with the factor 1.1 is at most 9.1 % wide, because the library rounds the factor down to
// 2^(1/8).
func TestQuantiles(t *testing.T) {
	many := func(n int, duration func(i int) float64) (out []float64) {
		for i := range n {
			out = append(out, duration(i))
		}
		return out
	}
	for _, tt := range []struct {
		reason    string
		durations []float64
		p50, p99  float64
	}{
		{"nothing", nil, 0, 0},
		{"one", []float64{.02}, .02, .02},
		{"zeros only", []float64{0, 0, 0}, 0, 0},
		{"half zero", []float64{0, 0, 3, 3}, 0, 3},
		{"mostly zero", []float64{0, 0, 0, 3}, 0, 3},
		{"evenly from 1 ms to 1 s", many(1000, func(i int) float64 { return float64(i+1) / 1000 }), .5, .99},
		{"one slow of fifty", append(many(49, func(int) float64 { return .003 }), 30), .003, 30},
		{"one slow of a hundred", append(many(99, func(int) float64 { return .003 }), 30), .003, .003},
		{"far apart", []float64{1e-6, 1e-6, 1, 1, 1e4}, 1, 1e4},
	} {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "h", Buckets: []float64{1, 5}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160,
		})
		for _, d := range tt.durations {
			h.Observe(d)
		}
		got := Times(h)
		for _, q := range []struct{ got, want float64 }{{got.P50, tt.p50}, {got.P99, tt.p99}} {
			if q.got < q.want*.95 || q.got > q.want*1.05 {
				t.Errorf("%s: %v, want %v", tt.reason, q.got, q.want)
			}
		}
	}
}
