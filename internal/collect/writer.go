package collect

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// addTimeout is how long the store may take for a batch before the batch goes to the spool.
	addTimeout = 15 * time.Second
	// patientTimeout is how long it may take for a batch that has no other place: with 5 s a statement,
	// a batch takes most of a minute.
	patientTimeout = 3 * time.Minute
	// firstPause and lastPause are between two tries of a store that fails.
	firstPause, lastPause = time.Second, 30 * time.Second
)

// WriterOptions are what a Writer needs.
type WriterOptions[B any] struct {
	// Name says in the log whose rows they are, such as "reports".
	Name string
	// Add adds a batch to the store. The store must take a batch only once, because Add is called again
	// after an error.
	Add func(context.Context, B) error
	// Spool takes batches while the store fails. It may be nil.
	Spool *Files[B]
	// Rows returns how many rows a batch has.
	Rows func(B) int
	// Lost is called for a batch that could be written nowhere until the writer had to end.
	Lost func(B, error)
	// Counts counts what is written.
	Counts *Written
	Log    *slog.Logger
}

// Writer writes batches to the store, or to the spool while the store fails. If there is a spool, the
// Writer brings its batches to the store in the background.
type Writer[B any] struct {
	o       WriterOptions[B]
	stop    context.Context // ends when the writer must give up
	giveUp  context.CancelFunc
	drainer sync.WaitGroup
}

// NewWriter returns a Writer that runs until Close.
func NewWriter[B any](o WriterOptions[B]) *Writer[B] {
	w := &Writer[B]{o: o}
	w.stop, w.giveUp = context.WithCancel(context.Background())
	if o.Spool != nil {
		w.drainer.Go(w.drain)
	}
	return w
}

// GiveUp makes Write drop what it cannot write at once.
func (w *Writer[B]) GiveUp() { w.giveUp() }

// Close ends the writer. What it is draining stays in the spool.
func (w *Writer[B]) Close() {
	w.giveUp()
	w.drainer.Wait()
}

// Write writes a batch to the store or to the spool. If neither takes it, Write tries until GiveUp is
// called. Only one goroutine may call it.
func (w *Writer[B]) Write(b B) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if w.spooled(b) {
			return
		}
		timeout := patientTimeout
		if w.o.Spool != nil && !w.o.Spool.Full() {
			timeout = addTimeout
		}
		err := w.store(b, timeout)
		if err == nil {
			return
		}
		if w.o.Spool != nil && w.spool(b) {
			return
		}
		if !w.wait(pause) {
			w.o.Lost(b, err)
			return
		}
	}
}

// spooled puts the batch into the spool if other batches wait there: the oldest must come first, so
// that its window is still open.
func (w *Writer[B]) spooled(b B) bool {
	return w.o.Spool != nil && w.o.Spool.Len() > 0 && w.spool(b)
}

func (w *Writer[B]) spool(b B) bool {
	if err := w.o.Spool.Put(b); err != nil {
		if !errors.Is(err, errFull) {
			w.o.Log.Warn("the spool of "+w.o.Name+" cannot be written", "error", err)
		}
		return false
	}
	w.o.Counts.Spooled.Add(int64(w.o.Rows(b)))
	return true
}

// store adds the batch to the store.
func (w *Writer[B]) store(b B, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(w.stop, timeout)
	err := w.o.Add(ctx, b)
	cancel()
	if err != nil {
		w.o.Counts.Failures.Add(1)
		if !w.o.Counts.Failing.Swap(true) {
			w.o.Log.Warn("the store takes no rows of "+w.o.Name, "error", err, "spool", w.o.Spool != nil)
		}
		return err
	}
	w.o.Counts.Stored.Add(int64(w.o.Rows(b)))
	if w.o.Counts.Failing.Swap(false) {
		w.o.Log.Info("the store takes rows of " + w.o.Name + " again")
	}
	return nil
}

// drain brings the batches of the spool to the store, the oldest first.
func (w *Writer[B]) drain() {
	for pause := firstPause; ; {
		b, name, err := w.o.Spool.Oldest()
		switch {
		case errors.Is(err, errTorn):
			w.o.Counts.Torn.Add(1)
			w.o.Log.Error("a file of the spool cannot be read and was set aside", "error", err)
			continue
		case err != nil:
			w.o.Log.Warn("the spool of "+w.o.Name+" cannot be read", "error", err)
		case name == "":
			pause = firstPause
			if !w.awaitSpool() {
				return
			}
			continue
		case w.store(b, patientTimeout) == nil:
			pause = firstPause
			if err = w.o.Spool.Remove(name); err == nil {
				continue
			}
			w.o.Log.Warn("a file of the spool cannot be removed", "error", err)
		}
		if !w.wait(pause) {
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// awaitSpool waits until there is something in the spool. It returns false when the writer must give up.
func (w *Writer[B]) awaitSpool() bool {
	select {
	case <-w.o.Spool.Added():
		return true
	case <-w.stop.Done():
		return false
	}
}

// wait waits, and returns false when the writer must give up.
func (w *Writer[B]) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.stop.Done():
		return false
	}
}
