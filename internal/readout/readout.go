// Package readout reads metrics of this process back as values, so that a page
// shows what the part that counts knows, whatever its series are called.
package readout

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Timing is a number of events and how long they took together.
type Timing struct {
	Count   int64
	Seconds float64
}

// Value returns the value of a counter or a gauge.
func Value(m prometheus.Metric) float64 {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		return 0 // counters and gauges never fail
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// Times returns what a histogram of durations in seconds has counted.
func Times(h prometheus.Histogram) Timing {
	var d dto.Metric
	if err := h.Write(&d); err != nil {
		return Timing{} // histograms never fail
	}
	return Timing{
		Count:   int64(d.GetHistogram().GetSampleCount()), //nolint:gosec // a count of events
		Seconds: d.GetHistogram().GetSampleSum(),
	}
}
