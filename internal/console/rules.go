package console

import (
	"net/http"
	"time"

	"sekimori/internal/policy"
	"sekimori/internal/status"
)

// soon is the length of a period before the end of a rule. In this period, the page
// marks the rule as ending soon.
const soon = 14 * 24 * time.Hour

// ruleRow is the row for one rule of policy.overrides.
type ruleRow struct {
	policy.Rule
	Number  int
	Hits    int64
	Last    time.Time // a time on the last day on which the rule applies
	Left    time.Duration
	Expired bool
	Soon    bool
}

type overrides struct {
	Rules  []ruleRow
	Shadow []status.Series // number of messages for each pair of different verdicts
}

func (c *Console) overrides(_ *http.Request, s *status.Status) (any, *problem) {
	hits := map[string]int64{}
	for _, series := range s.Rules {
		hits[series.Labels["rule"]] += series.Value
	}
	now := c.o.Now()
	var o overrides
	for i, r := range c.o.Rules() {
		row := ruleRow{Rule: r, Number: i + 1, Hits: hits[r.ID]}
		if !r.Expires.IsZero() {
			row.Last, row.Left = r.Expires.Add(-time.Second), r.Expires.Sub(now)
			row.Expired, row.Soon = row.Left <= 0, row.Left <= soon
		}
		o.Rules = append(o.Rules, row)
	}
	for _, series := range s.Shadow {
		if series.Value > 0 && series.Labels["live"] != series.Labels["shadow"] {
			o.Shadow = append(o.Shadow, series)
		}
	}
	return o, nil
}

func (c *Console) config(*http.Request, *status.Status) (any, *problem) { return c.o.Config(), nil }
