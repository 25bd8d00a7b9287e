package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"sekimori/internal/printable"
)

// priorities lists the prefixes that tell the journal the priority of a line
// (sd-daemon(3)). With them "journalctl -p err" finds the errors.
var priorities = [...]struct {
	least  slog.Level
	prefix string
}{{slog.LevelError, "<3>"}, {slog.LevelWarn, "<4>"}, {slog.LevelInfo, "<6>"}, {slog.Level(-1 << 31), "<7>"}}

// isJournal reports whether `out` is connected to the journal. systemd names the stream
// of the journal in JOURNAL_STREAM (systemd.exec(5)).
func isJournal(out io.Writer) bool {
	file, ok := printable.Unwrap(out).(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// Say writes a text, which may have several lines, to `out`. If `out` is the journal,
// each line begins with the prefix for the level.
func Say(out io.Writer, level slog.Level, text string) {
	text = strings.TrimSuffix(text, "\n") + "\n"
	if isJournal(out) {
		p := prefix(level)
		text = p + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+p) + "\n"
	}
	_, _ = io.WriteString(out, text) // the error could only be reported to `out`
}

func prefix(level slog.Level) string { return priorities[rank(level)].prefix }

// rank returns the index in `priorities` for the level.
func rank(level slog.Level) int {
	for i, p := range priorities {
		if level >= p.least {
			return i
		}
	}
	return len(priorities) - 1
}

// prefixed writes records to a LogWriter, each with the same prefix.
type prefixed struct {
	to     *LogWriter
	prefix string
}

func (p prefixed) Write(record []byte) (int, error) { return p.to.write(p.prefix, record) }

// leveled is a handler for the journal. It consists of one handler for each priority.
// Each handler has an output of its own, which adds the prefix. One output would not be
// enough, because an output does not know the level of a record.
type leveled [len(priorities)]slog.Handler

func newLeveled(to *LogWriter, handler func(io.Writer) slog.Handler) *leveled {
	var l leveled
	for i, p := range priorities {
		l[i] = handler(prefixed{to, p.prefix})
	}
	return &l
}

func (l *leveled) Enabled(ctx context.Context, level slog.Level) bool {
	return l[0].Enabled(ctx, level)
}

func (l *leveled) Handle(ctx context.Context, r slog.Record) error {
	return l.of(r.Level).Handle(ctx, r)
}

func (l *leveled) of(level slog.Level) slog.Handler { return l[rank(level)] }

func (l *leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return l.each(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (l *leveled) WithGroup(name string) slog.Handler {
	return l.each(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (l *leveled) each(f func(slog.Handler) slog.Handler) *leveled {
	var out leveled
	for i, h := range l {
		out[i] = f(h)
	}
	return &out
}
