package telemetry

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dmarc"
	"sekimori/internal/judge"
	"sekimori/internal/policy"
	"sekimori/internal/trait"
)

// compared returns a decision with the verdict `live`, and with the verdict `candidate`
// of a candidate policy.
func compared(live, candidate policy.Verdict) *judge.Decision {
	d := decided(message("x", 0), live)
	d.Shadow = &judge.Comparison{Live: live, Candidate: candidate}
	return d
}

// TestSteeringIsCounted checks the series about rules, the ramp and the candidate policy.
func TestSteeringIsCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	m.RulesLoaded([]policy.Rule{{ID: "used"}, {ID: "unused"}})
	hit := rejected
	hit.Rule, hit.Relaxed = "used", true
	m.Decided(decided(message("x", 0), hit), time.Millisecond)
	for _, candidate := range []policy.Verdict{{Action: policy.Accept}, rejected} {
		m.Decided(compared(rejected, candidate), time.Millisecond)
	}
	for _, tt := range []struct {
		name   string
		labels map[string]string
		want   float64
	}{
		{"sekimori_override_rule_hits_total", map[string]string{"rule": "used"}, 1},
		{"sekimori_override_rule_hits_total", map[string]string{"rule": "unused"}, 0},
		{"sekimori_ramp_relaxed_total", nil, 1},
		{"sekimori_dmarc_override_total", map[string]string{"reason": "local_policy"}, 3},
		{"sekimori_shadow_total", map[string]string{"live": "reject", "shadow": "accept"}, 1},
		{"sekimori_shadow_total", map[string]string{"live": "reject", "shadow": "reject"}, 1},
	} {
		if got := value(t, reg, tt.name, tt.labels); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
}

// TestUndecidedIsCounted checks that a message with missing answers is counted once, by the
// first missing answer, and that the log names all missing answers.
func TestUndecidedIsCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := New(reg)
	v := policy.Verdict{Action: policy.TempFail, Reason: policy.ReasonTempError, Missing: []policy.Missing{
		{What: policy.MissingDKIM, Cause: "timeout"}, {What: policy.MissingSPF, Cause: "servfail"},
	}}
	m.Decided(decided(message("x", 0), v), time.Millisecond)
	m.Decided(decided(message("x", 0), rejected), time.Millisecond)
	for _, tt := range []struct {
		missing, cause, verdict string
		want                    float64
	}{
		{"dkim", "timeout", "tempfail", 1},
		{"dkim", "budget", "tempfail", 0}, // New creates this series
		{"policy", "budget", "tempfail", 0},
	} {
		labels := map[string]string{"missing": tt.missing, "cause": tt.cause, "verdict": tt.verdict}
		if got := value(t, reg, "sekimori_temperror_total", labels); got != tt.want {
			t.Errorf("%v is %v, want %v", labels, got, tt.want)
		}
	}
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log, err := NewLogger(&out, format, "info")
		if err != nil {
			t.Fatal(err)
		}
		Records{Log: log}.Decided(decided(message("x", 0), v), time.Millisecond)
		plain := strings.NewReplacer(`"`, "", ":", "=").Replace(out.String())
		if want := "not_decided=dkim timeout, spf servfail"; !strings.Contains(plain, want) {
			t.Errorf("%s lacks %s: %s", format, want, out.String())
		}
	}
}

// TestSteeringIsLogged checks that both formats of the log name the rule and the signs.
func TestSteeringIsLogged(t *testing.T) {
	v := rejected
	v.Rule, v.Spoofing, v.Indirect = "forwarder-7", trait.Of(trait.Spoofing), trait.Of(trait.Indirect)[:2]
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log, err := NewLogger(&out, format, "info")
		if err != nil {
			t.Fatal(err)
		}
		Records{Log: log}.Decided(decided(message("x", 0), v), time.Millisecond)
		plain := strings.NewReplacer(`"`, "", ":", "=").Replace(out.String())
		for _, want := range []string{"rule=forwarder-7", "spoofing=author_spf_fail iprev_fail", "indirect=list list_signature"} {
			if !strings.Contains(plain, want) {
				t.Errorf("%s lacks %s: %s", format, want, out.String())
			}
		}
	}
}

// TestShadowRecord checks that there is a record "shadow differs" only if the candidate's
// verdict differs.
func TestShadowRecord(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	r := Records{Log: log}
	r.Decided(compared(rejected, rejected), 0)
	if strings.Contains(out.String(), "shadow") {
		t.Errorf("a record where nothing differs: %s", out.String())
	}
	for what, change := range map[string]func(*policy.Verdict){
		"action":      func(v *policy.Verdict) { v.Action = policy.Quarantine },
		"reason":      func(v *policy.Verdict) { v.Reason = policy.ReasonRule },
		"rule":        func(v *policy.Verdict) { v.Rule = "new" },
		"disposition": func(v *policy.Verdict) { v.Disposition = dmarc.PolicyNone },
	} {
		candidate := rejected
		change(&candidate)
		for probe, want := range map[bool]int{false: 1, true: 0} {
			out.Reset()
			Records{Log: log, Probe: probe}.Decided(compared(rejected, candidate), 0)
			if got := strings.Count(out.String(), `"msg":"shadow differs"`); got != want {
				t.Errorf("another %s, probe %v: %d records, want %d", what, probe, got, want)
			}
		}
	}
	out.Reset()
	r.Decided(compared(rejected, policy.Verdict{Action: policy.Accept, Reason: policy.ReasonRule, Rule: "new"}), 0)
	var got map[string]any
	if err := json.NewDecoder(&out).Decode(&got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"msg": "shadow differs", "queue_id": "4Q", "header_from": "bank.example", "verdict": "reject", "reason": "dmarc_reject",
		"shadow_verdict": "accept", "shadow_reason": "rule", "shadow_rule": "new", "id": "ABCDEFGH",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}
