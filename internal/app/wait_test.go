package app

import (
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/policy"
)

// TestShownWait checks that messages wait as configured, or for the whole message budget if a
// rule can look at any result.
func TestShownWait(t *testing.T) {
	asks := &policy.Config{Rules: []policy.Rule{{When: policy.Conditions{DKIM: []policy.Pattern{"a.example"}}}}}
	silent := &policy.Config{}
	for _, tt := range []struct {
		reason        string
		configured    time.Duration
		rules, shadow *policy.Config
		want          time.Duration
	}{
		{"as configured", time.Second, silent, nil, time.Second},
		{"none configured, not the default", 0, silent, silent, -1},
		{"a rule asks", 0, asks, nil, 10 * time.Second},
		{"a rule of the candidate asks", time.Second, silent, asks, 10 * time.Second},
	} {
		cfg := config.Default()
		cfg.Limits.ShownWait = config.Duration(tt.configured)
		if got := shownWait(cfg, *tt.rules, tt.shadow); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.reason, got, tt.want)
		}
	}
}
