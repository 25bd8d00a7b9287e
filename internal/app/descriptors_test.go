package app

import (
	"strings"
	"testing"

	"sekimori/internal/config"
)

// TestDescriptors checks that the daemon warns if limits.max_sessions can need more descriptors
// than the process may have.
func TestDescriptors(t *testing.T) {
	for _, tt := range []struct {
		limit    uint64
		sessions int
		short    bool
	}{
		{65536, 10_000, false}, {10_608, 10_000, false}, {10_607, 10_000, true}, {1024, 10_000, true}, {1024, 400, false}, {64, 1, true},
	} {
		if got := shortOfDescriptors(tt.limit, tt.sessions); (got != "") != tt.short || tt.short && !strings.Contains(got, "LimitNOFILE") {
			t.Errorf("%d for %d sessions: %q", tt.limit, tt.sessions, got)
		}
	}
	cfg := config.Default()
	for _, tt := range []struct {
		why   string
		count func() uint64
		short bool
	}{
		{"enough", func() uint64 { return 65536 }, false},
		{"too few", func() uint64 { return 1024 }, true},
		{"the system does not say", func() uint64 { return 0 }, false},
		{"they are not counted", nil, false},
	} {
		a := &App{o: Options{OpenFiles: tt.count}}
		if got := a.descriptorAdvice(cfg); (got != "") != tt.short {
			t.Errorf("%s: %q", tt.why, got)
		}
	}
}
