package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dmarc"
	"sekimori/internal/policy"
)

func TestConsent(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	var out bytes.Buffer
	records := Records{Log: slog.New(slog.NewJSONHandler(&out, nil))}
	e := message("x", 0)
	for _, c := range []policy.Consent{{}, {In: 2, Elapsed: time.Second}, {In: 1, Out: 3}} {
		v := policy.Verdict{Action: policy.Reject, Applied: policy.Reject, Disposition: dmarc.PolicyReject}.Respect(c)
		m.Decided(decided(e, v), time.Second)
		records.Decided(decided(e, v), time.Second)
	}
	m.ConsentLookup("file", "out")
	for _, tt := range []struct {
		name   string
		labels map[string]string
		want   float64
	}{
		{"sekimori_consent_mixed_total", nil, 1},
		{"sekimori_stage_duration_seconds", map[string]string{"stage": "consent"}, 2},
		{"sekimori_consent_lookups_total", map[string]string{"source": "file", "result": "out"}, 1},
		{"sekimori_consent_lookups_total", map[string]string{"source": "socketmap", "result": "failed"}, 0},
		{"sekimori_messages_total", map[string]string{"verdict": "reject"}, 2},
		{"sekimori_messages_total", map[string]string{"verdict": "tag"}, 1},
	} {
		if got := value(t, reg, tt.name, tt.labels); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, `"msg":"evaluated"`) {
			lines = append(lines, line)
		}
	}
	if len(lines) != 3 || strings.Contains(lines[0], "consent") || strings.Contains(lines[1], "would") ||
		!strings.Contains(lines[2], `"would":"reject","consent_in":1,"consent_out":3`) &&
			!strings.Contains(lines[2], `"consent_in":1,"consent_out":3,"would":"reject"`) {
		t.Errorf("records %q", lines)
	}
}

// TestMapLoaded checks that the time of the last update does not change if a list file
// cannot be read.
func TestMapLoaded(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	of := map[string]string{"map": "recipients"}
	m.MapLoaded("recipients", time.Unix(1000, 0), nil)
	m.MapLoaded("recipients", time.Unix(2000, 0), errors.New("line 3"))
	if at, ok := value(t, reg, "sekimori_map_last_update_timestamp_seconds", of), value(t, reg, "sekimori_map_last_reload_successful", of); at != 1000 || ok != 0 {
		t.Errorf("age %v, successful %v", at, ok)
	}
	m.MapLoaded("recipients", time.Unix(3000, 0), nil)
	if at, ok := value(t, reg, "sekimori_map_last_update_timestamp_seconds", of), value(t, reg, "sekimori_map_last_reload_successful", of); at != 3000 || ok != 1 {
		t.Errorf("age %v, successful %v", at, ok)
	}
}
