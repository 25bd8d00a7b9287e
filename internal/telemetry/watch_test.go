package telemetry

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dmarc"
	"sekimori/internal/lookalike"
	"sekimori/internal/msgauth"
)

func TestWatchMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	m.Watching([]string{"banks", "quiet"})
	for _, tt := range []struct {
		result dmarc.Result
		watch  *lookalike.Finding
	}{
		{dmarc.ResultPass, &lookalike.Finding{List: "banks"}},
		{dmarc.ResultFail, &lookalike.Finding{List: "banks"}},
		{dmarc.ResultFail, &lookalike.Finding{List: "banks"}},
		{dmarc.ResultNone, &lookalike.Finding{List: "banks"}},
		{dmarc.ResultTempError, &lookalike.Finding{List: "banks"}},
		{dmarc.ResultPass, &lookalike.Finding{List: "banks", Lookalike: lookalike.KindName}},
		{dmarc.ResultPass, nil},
	} {
		m.countWatch(&msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: tt.result}, Watch: tt.watch})
	}
	for _, tt := range []struct {
		watch, result string
		want          float64
	}{
		{"banks", "pass", 1}, {"banks", "fail", 2}, {"banks", "lookalike", 1}, {"quiet", "pass", 0}, {"quiet", "fail", 0}, {"quiet", "lookalike", 0},
	} {
		if got := value(t, reg, "sekimori_watch_messages_total", map[string]string{"watch": tt.watch, "result": tt.result}); got != tt.want {
			t.Errorf("%s %s: %v, want %v", tt.watch, tt.result, got, tt.want)
		}
	}
}
