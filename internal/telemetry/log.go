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

// maxQueuedLog bounds the records that wait to be written, in octets. Some thousands of
// records fit. Further records are dropped and counted, because a message never waits
// for the log.
const maxQueuedLog = 4 << 20

// pause is how long the writer waits after it has written. Under load many records then
// share one write, and the writer is seldom woken.
const pause = 10 * time.Millisecond

// LogWriter writes the log in the background. It is safe for concurrent use.
type LogWriter struct {
	out     io.Writer
	journal bool // out is the journal: records begin with their priority

	mu      sync.Mutex
	wake    *sync.Cond
	queue   []byte
	idle    bool // the writer waits for wake
	dropped int
	closed  bool
	hurry   chan struct{} // a value ends the pause
	done    chan struct{} // closed when the writer has ended
}

// NewLogWriter returns a LogWriter to out. Close must be called.
func NewLogWriter(out io.Writer) *LogWriter {
	w := &LogWriter{out: out, journal: isJournal(out), hurry: make(chan struct{}, 1), done: make(chan struct{})}
	w.wake = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write queues one whole record; it never blocks on the output.
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
		w.idle = false
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

// Dropped returns how many records were lost because the queue was full or the output
// failed.
func (w *LogWriter) Dropped() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// CountDropped registers the series that counts dropped records.
func (w *LogWriter) CountDropped(reg prometheus.Registerer) {
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Name: "log_records_dropped_total",
		Help: "Log records dropped because the output was too slow, or failed.",
	}, func() float64 { return float64(w.Dropped()) }))
}

// closeTimeout is how long Close waits for an output that blocks.
const closeTimeout = 3 * time.Second

// Close writes the queued records and ends the background work. It gives up after
// closeTimeout if the output blocks.
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
		// The log itself cannot report that it fails, so the lost records are counted.
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

// NewLogger returns a logger for the configured format (json or text) and level (debug,
// info, warn, error). out must be safe for concurrent use, as a LogWriter is.
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

// visible makes the records of slog safe for a terminal. slog leaves characters in that
// steer a terminal: DEL, the C1 controls and marks of direction.
type visible struct{ out io.Writer }

// Write writes one whole record.
func (v visible) Write(p []byte) (int, error) {
	if _, err := v.out.Write(printable.TextBytes(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
