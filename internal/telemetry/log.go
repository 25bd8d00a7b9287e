package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/printable"
)

// maxQueuedLog limits the records that wait to be written, in octets. Several thousand
// records fit. Further records are dropped and counted, so that no message has to wait for
// the log.
const maxQueuedLog = 4 << 20

// pause is how long the background writer waits after each write. With more than a few messages a
// second, several records are then written at once, and the writer needs to be woken less often.
// If the process is killed during a pause, the waiting records are lost.
const pause = 50 * time.Millisecond

// LogWriter queues records and writes them to its output in the background. It is safe for
// concurrent use.
type LogWriter struct {
	out     io.Writer
	journal bool // `out` is the journal, so each record gets a prefix for its level

	mu      sync.Mutex
	wake    *sync.Cond
	queue   []byte
	idle    bool // the background writer waits for wake
	dropped int
	closed  bool
	hurry   chan struct{} // receiving a value ends the pause early
	done    chan struct{} // closed when the background writer has ended
}

// NewLogWriter returns a LogWriter that writes to `out`. The caller must call Close.
func NewLogWriter(out io.Writer) *LogWriter {
	w := &LogWriter{out: out, journal: isJournal(out), hurry: make(chan struct{}, 1), done: make(chan struct{})}
	w.wake = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write queues one complete record. It does not wait for the output.
func (w *LogWriter) Write(p []byte) (int, error) { return w.write("", p) }

func (w *LogWriter) write(prefix string, p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.queue)+len(prefix)+len(p) > maxQueuedLog {
		w.dropped++
		return len(p), nil
	}
	w.queue = append(w.queue, prefix...)
	w.queue = append(w.queue, p...)
	switch {
	case w.idle:
		w.wake.Signal()
	case len(w.queue) > maxQueuedLog/2:
		w.endPause()
	}
	return len(p), nil
}

func (w *LogWriter) endPause() {
	select {
	case w.hurry <- struct{}{}:
	default:
	}
}

// Dropped returns how many records were lost because the queue was full, the output failed,
// or the LogWriter was closed.
func (w *LogWriter) Dropped() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// CountDropped registers the series with the number of dropped records.
func (w *LogWriter) CountDropped(reg prometheus.Registerer) {
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Name: "log_records_dropped_total",
		Help: "Log records dropped because the output was too slow, or failed.",
	}, func() float64 { return float64(w.Dropped()) }))
}

// closeTimeout is the longest time that Close waits for the output.
const closeTimeout = 3 * time.Second

// Close writes the queued records and ends the background writer. If the output blocks for
// closeTimeout, Close returns an error.
func (w *LogWriter) Close() error {
	w.mu.Lock()
	w.closed = true
	w.wake.Signal()
	w.endPause()
	w.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-time.After(closeTimeout):
		return errors.New("telemetry: the log output takes nothing")
	}
}

func (w *LogWriter) run() {
	defer close(w.done)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	var spare []byte
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.closed {
			w.idle = true
			w.wake.Wait()
		}
		w.idle = false
		if len(w.queue) == 0 {
			w.mu.Unlock()
			return
		}
		batch := w.queue
		w.queue = spare[:0]
		w.mu.Unlock()
		// An error of the log cannot be logged, so the lost records are counted.
		if n, err := w.out.Write(batch); err != nil {
			w.mu.Lock()
			w.dropped += bytes.Count(batch[min(max(n, 0), len(batch)):], []byte{'\n'})
			w.mu.Unlock()
		}
		spare = batch
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-w.hurry:
		}
	}
}

// NewLogger returns a logger that writes to `out`. `format` is "json" or "text". `level`
// is "debug", "info", "warn" or "error". `out` must be safe for concurrent use, as a
// LogWriter is.
func NewLogger(out io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return nil, fmt.Errorf("telemetry: unknown log level %q", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	var handler func(io.Writer) slog.Handler
	switch format {
	case "json":
		handler = func(out io.Writer) slog.Handler { return newJSONHandler(out, opts) }
	case "text":
		opts.ReplaceAttr = readable
		handler = func(out io.Writer) slog.Handler { return slog.NewTextHandler(visible{out}, opts) }
	default:
		return nil, fmt.Errorf("telemetry: unknown log format %q", format)
	}
	if w, ok := out.(*LogWriter); ok && w.journal {
		return slog.New(newLeveled(w, handler)), nil
	}
	return slog.New(handler(out)), nil
}

// visible is an output for slog that makes the records safe for a terminal. slog does not
// escape all characters that control a terminal: DEL, C1 control characters and marks of
// text direction.
type visible struct{ out io.Writer }

// Write writes one complete record.
func (v visible) Write(p []byte) (int, error) {
	if _, err := v.out.Write(printable.TextBytes(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
