// Package readout reads the values of Prometheus metrics of this process. A page can
// then show numbers that a package exposes only as metrics.
package readout

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Timing is a number of events, and the sum of their durations.
type Timing struct {
	Count   int64
	Seconds float64
}

// Value returns the value of a counter or a gauge.
func Value(m prometheus.Metric) float64 {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		return 0 // Write of a counter or gauge never fails
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// Times returns the number and the sum of the durations that a histogram has observed.
func Times(h prometheus.Histogram) Timing {
	var d dto.Metric
	if err := h.Write(&d); err != nil {
		return Timing{} // Write of a histogram never fails
	}
	return Timing{
		Count:   int64(d.GetHistogram().GetSampleCount()), //nolint:gosec // a count of events
		Seconds: d.GetHistogram().GetSampleSum(),
	}
}
