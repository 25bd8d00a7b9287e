package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Sample has some values from a server's /metrics page at one time.
type Sample struct {
	Seconds     float64 `json:"seconds"` // since the first sample
	Goroutines  float64 `json:"goroutines"`
	Descriptors float64 `json:"open_descriptors"`
	RSSBytes    float64 `json:"memory_bytes"`
	HeapBytes   float64 `json:"heap_bytes"` // includes garbage that has not been collected yet
	Sessions    float64 `json:"sessions"`
}

const (
	watchTimeout = 10 * time.Second
	maxMetrics   = 8 << 20 // octets of one /metrics page
)

// Watch reads the metrics of a Go server at url at every interval until ctx ends. It then waits for
// the time "settle" and reads the metrics again: memory that is still in use after the load has
// ended may be a leak. If a read fails, Watch returns the error.
func Watch(ctx context.Context, url string, interval, settle time.Duration) ([]Sample, error) {
	begin := time.Now()
	var out []Sample
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		s, err := readSample(url)
		if err != nil {
			return out, err
		}
		s.Seconds = time.Since(begin).Seconds()
		out = append(out, s)
		select {
		case <-tick.C:
		case <-ctx.Done():
			time.Sleep(settle)
			s, err := readSample(url)
			s.Seconds = time.Since(begin).Seconds()
			return append(out, s), err
		}
	}
}

func readSample(url string) (Sample, error) {
	ctx, cancel := context.WithTimeout(context.Background(), watchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return Sample{}, fmt.Errorf("load: metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Sample{}, fmt.Errorf("load: metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return Sample{}, fmt.Errorf("load: metrics: %s: %s", url, resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(resp.Body, maxMetrics))
	if err != nil {
		return Sample{}, fmt.Errorf("load: metrics: %s: %w", url, err)
	}
	var s Sample
	for name, to := range map[string]*float64{
		"go_goroutines": &s.Goroutines, "process_open_fds": &s.Descriptors, "process_resident_memory_bytes": &s.RSSBytes,
		"go_memstats_heap_alloc_bytes": &s.HeapBytes, "sekimori_sessions_inflight": &s.Sessions,
	} {
		*to = value(families[name])
	}
	return s, nil
}

func value(f *dto.MetricFamily) float64 {
	if f == nil || len(f.Metric) == 0 {
		return 0
	}
	m := f.Metric[0]
	return m.GetGauge().GetValue() + m.GetUntyped().GetValue() + m.GetCounter().GetValue()
}
