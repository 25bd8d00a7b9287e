package telemetry

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/judge"
	"sekimori/internal/policy"
)

// TestMessagesByTLS checks that evaluated messages are counted by the TLS version that the MTA
// names. The set of values is fixed, and each of them exists from the start.
func TestMessagesByTLS(t *testing.T) {
	for _, tt := range []struct{ said, want string }{
		{"", "none"},
		{"TLSv1", "TLSv1"},
		{"TLSv1.1", "TLSv1.1"},
		{"TLSv1.2", "TLSv1.2"},
		{"TLSv1.3", "TLSv1.3"},
		{"TLSv1.4", "other"},
		{"SSLv3", "other"},
		{"tlsv1.3", "other"},
		{"none", "other"},
		{"hostile\x00\xff", "other"},
	} {
		reg := prometheus.NewRegistry()
		m := New(reg)
		e := message("x", 0)
		e.Session.TLSVersion = tt.said
		m.Decided(decided(e, rejected), time.Millisecond)
		m.Decided(&judge.Decision{Session: e.Session, Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
		for _, version := range []string{"none", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "other"} {
			want := 0.0
			if version == tt.want {
				want = 1
			}
			if got := value(t, reg, "sekimori_messages_tls_total", map[string]string{"version": version}); got != want {
				t.Errorf("the MTA says %q: version %s is %v, want %v", tt.said, version, got, want)
			}
		}
		if n := len(family(t, reg, "sekimori_messages_tls_total").GetMetric()); n != 6 {
			t.Errorf("%d series", n)
		}
	}
}
