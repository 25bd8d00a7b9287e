package nameserver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
)

// Failure returns the *dns.Error in the chain of err, or nil.
func Failure(err error) *dns.Error {
	var e *dns.Error
	errors.As(err, &e)
	return e
}

// Show formats an answer as one line, or returns the kind of the failure if err is a dns.Error.
func Show(a dns.Answer, err error) string {
	if e := Failure(err); e != nil {
		return e.Kind.String()
	}
	if err != nil {
		return "not a dns.Error: " + err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", a.Status, a.Canonical, a.TTL)
	for _, r := range a.Records {
		switch {
		case r.Addr.IsValid():
			fmt.Fprintf(&b, " %s", r.Addr)
		case a.Type == dns.TypeMX:
			fmt.Fprintf(&b, " %d:%s", r.Preference, r.Host)
		case a.Type == dns.TypeTXT:
			fmt.Fprintf(&b, " %q", r.Text)
		default:
			fmt.Fprintf(&b, " %s", r.Host)
		}
	}
	return b.String()
}

// Series is a registry in which a test collects DNS metrics.
type Series struct{ *prometheus.Registry }

// NewSeries returns an empty registry, which also checks that every series is described.
func NewSeries() Series { return Series{prometheus.NewPedanticRegistry()} }

// Values returns the value of every series. The key is the name of the metric (without
// "sekimori_dns_" and "_total") followed by the label values. The value of a histogram is the
// number of its observations.
func (s Series) Values(tb testing.TB) map[string]float64 {
	tb.Helper()
	families, err := s.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		name := strings.TrimSuffix(strings.TrimPrefix(f.GetName(), "sekimori_dns_"), "_total")
		for _, m := range f.GetMetric() {
			k := name
			for _, l := range slices.Backward(m.GetLabel()) { // labels are sorted by name; in reverse order, type comes before result
				k += " " + l.GetValue()
			}
			out[k] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// Expect checks that the series in "want" have the values given there, and that all other counters
// are 0.
func (s Series) Expect(tb testing.TB, want map[string]float64) {
	tb.Helper()
	got := s.Values(tb)
	for _, k := range slices.Sorted(maps.Keys(got)) {
		gauge := k == "query_duration_seconds" || strings.HasPrefix(k, "cache_entries") ||
			strings.HasPrefix(k, "cache_bytes") || strings.HasPrefix(k, "upstream_")
		if _, named := want[k]; !named && gauge {
			continue
		}
		if got[k] != want[k] {
			tb.Errorf("%s is %v, want %v", k, got[k], want[k])
		}
	}
	for k := range want {
		if _, ok := got[k]; !ok {
			tb.Errorf("there is no series %s", k)
		}
	}
}
