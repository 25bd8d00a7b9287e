package msgauth

import (
	"context"
	"sync"
	"time"
)

// budget is a context with a deadline. It starts a timer only when Done is called, because most
// messages find every answer in the cache and never wait. Call begin before use. A budget is safe
// for concurrent use.
type budget struct {
	parent   context.Context
	deadline time.Time

	mu    sync.Mutex
	inner context.Context // nil before Done was called
	stop  context.CancelFunc
	over  bool // end was called
}

// begin sets the deadline. end must be called, of this budget or of a budget that is its parent.
func (b *budget) begin(parent context.Context, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parent, b.deadline, b.inner, b.stop, b.over = parent, time.Now().Add(d), nil, nil, false
	if at, ok := parent.Deadline(); ok && at.Before(b.deadline) {
		b.deadline = at
	}
}

// end cancels the context. Goroutines that wait for Done wake up.
func (b *budget) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.stop != nil {
		b.stop()
	}
}

// Deadline implements [context.Context].
func (b *budget) Deadline() (time.Time, bool) { return b.deadline, true }

// Done implements [context.Context].
func (b *budget) Done() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.inner != nil:
	case b.over: // ended early; the deadline does not matter
		b.inner, b.stop = context.WithCancel(b.parent)
		b.stop()
	default:
		b.inner, b.stop = context.WithDeadline(b.parent, b.deadline)
	}
	return b.inner.Done()
}

// Err implements [context.Context].
func (b *budget) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.inner != nil:
		return b.inner.Err()
	case b.over:
		return context.Canceled
	case b.parent.Err() != nil:
		return b.parent.Err()
	case !time.Now().Before(b.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements [context.Context]. If Done was called, it asks the inner context. Package
// context finds the inner context in this way, and then can cancel child contexts without starting
// a goroutine.
func (b *budget) Value(key any) any {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inner != nil {
		return b.inner.Value(key)
	}
	return b.parent.Value(key)
}
