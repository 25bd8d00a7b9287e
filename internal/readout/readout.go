// Package readout reads the values of Prometheus metrics of this process. A page can
// then show numbers that a package exposes only as metrics.
package readout

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Timing is a number of events, the sum of their durations, and two quantiles: half of the
// durations are at most P50, and 99 % of them at most P99.
type Timing struct {
	Count    int64
	Seconds  float64
	P50, P99 float64 // in seconds, to about 5 %; 0 if the histogram has no native buckets
}

// Value returns the value of a counter or a gauge.
func Value(m prometheus.Metric) float64 {
	var d dto.Metric
	_ = m.Write(&d) // Write of a counter or gauge never fails
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// Times returns the number and the sum of the durations that a histogram has observed, and
// their quantiles.
func Times(h prometheus.Histogram) Timing {
	var d dto.Metric
	_ = h.Write(&d) // Write of a histogram never fails
	n := d.GetHistogram()
	return Timing{
		Count:   int64(n.GetSampleCount()), //nolint:gosec // a count of events
		Seconds: n.GetSampleSum(),
		P50:     quantile(n, .5),
		P99:     quantile(n, .99),
	}
}

// quantile returns the middle of the native bucket that has the quantile q. Durations are not negative, so only the bucket of zero and the positive buckets
// are read.
func quantile(h *dto.Histogram, q float64) float64 {
	rank := q * float64(h.GetSampleCount())
	seen := float64(h.GetZeroCount())
	if seen >= rank { // also without any event
		return 0
	}
	var index int32
	var count, next int64 // each bucket is written as the difference from the one before
	value := 0.0
	for _, span := range h.GetPositiveSpan() {
		index += span.GetOffset()
		for range span.GetLength() {
			count += h.GetPositiveDelta()[next]
			next++
			seen += float64(count)
			// The bucket ends at the power index of 2^(2^-schema), and the bucket before it at
			// the power index-1.
			if value = math.Exp2(math.Ldexp(float64(index)-.5, -int(h.GetSchema()))); seen >= rank {
				return value
			}
			index++
		}
	}
	return value // the histogram was changed while it was read
}
