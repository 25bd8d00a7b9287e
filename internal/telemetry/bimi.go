package telemetry

import (
	"strings"

	"sekimori/internal/bimi"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// bimiMetrics has the series about the marks of authors.
type bimiMetrics struct {
	results *counters[string]
	reasons *counters[string]
	removed *counters[string]
}

// markFieldNames are the fields that only a receiving host may write.
var markFieldNames = []string{label.LocationField, label.IndicatorField, label.PreferenceField}

func newBIMIMetrics(b builder) bimiMetrics {
	m := bimiMetrics{
		results: b.counters("bimi_total", "Messages by result of BIMI; only with pass a mark is handed on.", "result"),
		reasons: b.counters("bimi_reason_total", "Messages without a mark, by reason.", "reason"),
		removed: b.counters("bimi_removed_total", "Fields with marks that came from outside and were removed.", "field"),
	}
	for _, r := range bimi.Results() {
		m.results.with(string(r))
	}
	for _, reason := range bimi.Reasons() {
		m.reasons.with(reason)
	}
	for _, name := range markFieldNames {
		m.removed.with(fieldLabel(name))
	}
	return m
}

// fieldLabel returns the label value of a field: location, indicator or logo_preference.
func fieldLabel(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "BIMI-")), "-", "_")
}

func (m *bimiMetrics) count(e *msgauth.Evaluation, v *policy.Verdict) {
	b := policy.Mark(e, v)
	if b == nil {
		return
	}
	m.results.with(string(b.Result)).Inc()
	if b.Reason != "" {
		m.reasons.with(b.Reason).Inc()
	}
}

// countRemoved counts the fields that the edits remove.
func (m *bimiMetrics) countRemoved(d *judge.Decision) {
	for i := range d.Edits {
		e := &d.Edits[i]
		if !strings.HasPrefix(e.Name, "BIMI-") {
			continue
		}
		switch e.Kind {
		case label.Delete:
			m.removed.with(fieldLabel(e.Name)).Inc()
		case label.DeleteMany:
			m.removed.with(fieldLabel(e.Name)).Add(float64(e.Deleted()))
		}
	}
}

// addMark adds the attributes about the author's mark.
func addMark(r record, e *msgauth.Evaluation, v *policy.Verdict) {
	b := policy.Mark(e, v)
	if b == nil {
		return
	}
	r.str("bimi", string(b.Result))
	if b.Reason != "" {
		r.str("bimi_reason", b.Reason)
	}
	if b.Result == bimi.Pass {
		r.str("bimi_domain", string(b.Domain))
		r.str("bimi_mark", b.Hash)
	}
}

// maskedMark removes the local part of the author, from which a selector may be made.
func maskedMark(b *bimi.Evaluation) *bimi.Evaluation {
	if b == nil || b.LocalPart == "" {
		return b
	}
	shown := *b
	shown.LocalPart, shown.Selector = stars, stars
	shown.Checks = make([]bimi.Check, len(b.Checks))
	for i, c := range b.Checks {
		c.Detail = strings.ReplaceAll(c.Detail, b.LocalPart+"._bimi", stars+"._bimi")
		shown.Checks[i] = c
	}
	return &shown
}
