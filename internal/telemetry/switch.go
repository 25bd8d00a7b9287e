package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// Switch is a slog.Handler that passes records to another handler. A reload can replace
// that handler. A logger made by With or WithGroup keeps the handler that was set when it
// was made.
type Switch struct{ to atomic.Pointer[slog.Handler] }

// NewSwitch returns a Switch that passes records to h.
func NewSwitch(h slog.Handler) *Switch {
	s := &Switch{}
	s.Set(h)
	return s
}

// Set replaces the handler by h.
func (s *Switch) Set(h slog.Handler) { s.to.Store(&h) }

// Enabled implements slog.Handler.
func (s *Switch) Enabled(ctx context.Context, l slog.Level) bool {
	return (*s.to.Load()).Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (s *Switch) Handle(ctx context.Context, r slog.Record) error {
	return (*s.to.Load()).Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (s *Switch) WithAttrs(attrs []slog.Attr) slog.Handler { return (*s.to.Load()).WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (s *Switch) WithGroup(name string) slog.Handler { return (*s.to.Load()).WithGroup(name) }
