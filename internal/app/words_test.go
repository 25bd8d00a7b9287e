package app

import (
	"io"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/recent"
	"sekimori/internal/resolver/upstream"
	"sekimori/internal/telemetry"
)

// TestDefaultsOfTheParts checks that config.Default has the default timeout of package upstream,
// and that package config limits admin.recent to recent.MaxEntries. Package config repeats both
// values, because it may not import these packages.
func TestDefaultsOfTheParts(t *testing.T) {
	got := resolverConfig(config.Default(), nil)
	if got.Client.Timeout != upstream.DefaultTimeout {
		t.Errorf("dns.timeout: %s, want %s", got.Client.Timeout, upstream.DefaultTimeout)
	}
	for _, tt := range []struct {
		entries int
		good    bool
	}{{recent.MaxEntries, true}, {recent.MaxEntries + 1, false}} {
		cfg := config.Default()
		cfg.Admin.Recent = tt.entries
		if err := cfg.Validate(); (err == nil) != tt.good {
			t.Errorf("admin.recent: %d: %v", tt.entries, err)
		}
	}
}

// TestLogWords checks that the logger and package config accept the same log formats and levels.
func TestLogWords(t *testing.T) {
	for _, format := range []string{"json", "text", "xml", ""} {
		for _, level := range []string{"debug", "info", "warn", "error", "fatal", ""} {
			cfg := config.Default()
			cfg.Log.Format, cfg.Log.Level = format, level
			_, err := telemetry.NewLogger(io.Discard, format, level)
			if refused := cfg.Validate(); (err == nil) != (refused == nil) {
				t.Errorf("%q, %q: config says %v, telemetry %v", format, level, refused, err)
			}
		}
	}
}
