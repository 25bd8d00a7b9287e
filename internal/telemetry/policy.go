package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// RulesLoaded creates the series of each rule with the value 0, so that a rule that never
// matches is visible. The number of these series is limited by the configuration.
func (m *Metrics) RulesLoaded(rules []policy.Rule) {
	for i := range rules {
		m.ruleHits.with(rules[i].ID)
	}
}

// countUndecided counts a message if it was decided although a needed answer was
// missing.
func (m *Metrics) countUndecided(v *policy.Verdict) {
	if len(v.Missing) > 0 {
		first := v.Missing[0]
		m.undecided.with([3]string{string(first.What), first.Cause, string(v.Action)}).Inc()
	}
}

// countSteering counts the override of a verdict, the rule that matched, and a step by the
// ramp, if the verdict has them.
func (m *Metrics) countSteering(v *policy.Verdict) {
	if v.Override != nil {
		m.dmarcOverride.with(string(v.Override.Type)).Inc()
	}
	if v.Rule != "" {
		m.ruleHits.with(v.Rule).Inc()
	}
	if v.Relaxed {
		m.rampRelaxed.Inc()
	}
}

// compared writes a log record if the verdict of the candidate policy differs from the
// verdict of the policy in effect. A verdict also differs if only its reason, its rule
// or its DMARC disposition is different.
func (r Records) compared(e *msgauth.Evaluation, c *judge.Comparison) {
	live, shadow := &c.Live, &c.Candidate
	if live.Action == shadow.Action && live.Reason == shadow.Reason && live.Rule == shadow.Rule && live.Disposition == shadow.Disposition {
		return
	}
	r.Log.LogAttrs(context.Background(), slog.LevelInfo, "shadow differs",
		slog.String("queue_id", clip(e.Envelope.QueueID)),
		slog.String("client_ip", addr(e.Session)),
		slog.String("header_from", string(e.From.AuthorDomain)),
		slog.String("verdict", string(live.Action)),
		slog.String("reason", string(live.Reason)),
		slog.String("rule", live.Rule),
		slog.String("shadow_verdict", string(shadow.Action)),
		slog.String("shadow_reason", string(shadow.Reason)),
		slog.String("shadow_rule", shadow.Rule),
		slog.String("id", live.ID))
}

// words joins the elements of a list for the log.
func words[T any](all []T, separator string) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = fmt.Sprint(s)
	}
	return strings.Join(out, separator)
}
