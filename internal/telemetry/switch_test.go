package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestSwitch checks that an existing logger uses the level and format of the new handler
// after Set.
func TestSwitch(t *testing.T) {
	var out bytes.Buffer
	text := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
	s := NewSwitch(text)
	log := slog.New(s)
	log.Debug("one")
	s.Set(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	log.Debug("two")
	log.With("k", "v").WithGroup("g").Info("three", "a", 1)
	got := out.String()
	if !strings.Contains(got, "msg=one") || strings.Contains(got, "two") || !strings.Contains(got, `"msg":"three","k":"v","g":{"a":1}`) {
		t.Errorf("logged: %s", got)
	}
}
