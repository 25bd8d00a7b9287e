package app

import (
	"strings"
	"testing"

	"sekimori/internal/config"
)

// TestDescriptors: what the limits can need and the process may not have is
// said before it lacks.
func TestDescriptors(t *testing.T) {
	for _, tt := range []struct {
		limit    uint64
		sessions int
		short    bool
	}{
		{65536, 10_000, false}, {10_576, 10_000, false}, {10_575, 10_000, true}, {1024, 10_000, true}, {1024, 400, false}, {64, 1, true},
	} {
		if got := shortOfDescriptors(tt.limit, tt.sessions); (got != "") != tt.short || tt.short && !strings.Contains(got, "LimitNOFILE") {
			t.Errorf("%d for %d sessions: %q", tt.limit, tt.sessions, got)
		}
	}
	cfg := config.Default()
	cfg.Limits.MaxSessions = 1 << 40
	if got := descriptorAdvice(cfg); !strings.Contains(got, "limits.max_sessions 1099511627776") {
		t.Errorf("more than any process may have: %q", got)
	}
}
