package msgauth

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"sekimori/internal/dns"
)

// Panic is a panic in a stage. The message loses the result of that stage; the process continues.
type Panic struct {
	Component Mechanism `json:"component"`
	Value     string    `json:"value"`
	Stack     string    `json:"-"`
}

// task is a stage whose evaluator is one function call. The call runs in the caller's goroutine or
// in the background. The zero value is a task that has ended without a result.
type task[T any] struct {
	stage
	begin    time.Time
	firstRun firstRun
	done     chan struct{} // closed at the end; nil if the evaluator did not run in the background
	value    T
	panic    *Panic
	noted    bool // the panic was added to an Evaluation
}

// evaluator is the function that a task runs: a call of an evaluator package with its arguments.
type evaluator[T any] func(context.Context, dns.Resolver) T

// start runs f. If the resolver already has every answer, as for most messages, f runs in this
// goroutine, and no other goroutine, stack or timer is needed. Otherwise start discards that run
// and runs f again from its beginning in the background, with the resolver r. r must ask through
// the stage.
func (t *task[T]) start(ctx context.Context, r dns.Resolver, f evaluator[T]) {
	t.begin = time.Now()
	buffers := t.c.v.answers
	buffer := buffers.Get().(*[]dns.Answer)
	t.firstRun = firstRun{stage: &t.stage, found: *buffer}
	t.run(ctx, &t.firstRun, f)
	found, missed := t.firstRun.found, t.firstRun.missed
	t.firstRun = firstRun{}
	if !missed {
		clear(found)
		*buffer = found[:0]
		buffers.Put(buffer)
		return
	}
	var none T
	t.value, t.panic = none, nil
	t.keep(found)
	t.done = make(chan struct{})
	go func() {
		defer close(t.done)
		t.run(ctx, r, f)
	}()
}

func (t *task[T]) run(ctx context.Context, r dns.Resolver, f evaluator[T]) {
	defer func() {
		t.elapsed = time.Since(t.begin)
		if v := recover(); v != nil {
			p := newPanic(t.kind.mechanism, v)
			t.panic = &p
		}
	}()
	t.value = f(ctx, r)
}

// firstRun is the Resolver of a task's first run. It only returns answers that the resolver already
// has. When the first answer is missing, it sets missed, and the result of the run is discarded.
type firstRun struct {
	dns.LookupOnly // the other methods know nothing; Lookup calls stage.Peek
	stage          *stage
	found          []dns.Answer
	missed         bool
}

// errMissed is the error of Lookup for the first missing answer and for every lookup after it. The
// result of that run is discarded, so this error is never shown.
var errMissed = &dns.Error{Kind: dns.KindCanceled}

// Lookup implements [dns.Resolver].
func (r *firstRun) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if !r.missed {
		if answer, ok := r.stage.Peek(name, typ); ok {
			r.found = append(r.found, answer)
			return answer, nil
		}
		r.missed = true
	}
	return dns.Answer{}, errMissed
}

// ended reports whether the task has ended.
func (t *task[T]) ended() bool {
	if t.done == nil {
		return true
	}
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// panicked reports whether the task ended by a panic.
func (t *task[T]) panicked() bool { return t.ended() && t.panic != nil }

// ending returns a channel that is closed when the task ends, or nil if it has already ended.
func (t *task[T]) ending() <-chan struct{} {
	if t.ended() {
		return nil
	}
	return t.done
}

// wait waits for the task and returns its value. ok is false if ctx ended first, or
// if the task panicked; the panic is then noted in e.
func (t *task[T]) wait(ctx context.Context, e *Evaluation) (value T, ok bool) {
	if !t.ended() {
		select {
		case <-t.done:
		case <-ctx.Done():
			return value, false
		}
	}
	if t.panic == nil {
		return t.value, true
	}
	if !t.noted { // every message of a connection waits for the connection's tasks; only the first one records the panic
		t.noted = true
		e.Panics = append(e.Panics, *t.panic)
	}
	return value, false
}

// guard runs f in this goroutine. If f panics, ok is false and the panic is noted in e.
func guard[T any](component Mechanism, e *Evaluation, f func() T) (value T, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			e.Panics = append(e.Panics, newPanic(component, v))
		}
	}()
	return f(), true
}

// attempt runs f in this goroutine. If f panics, ok is false.
func attempt[T any](f func() T) (value T, ok bool) {
	defer func() { _ = recover() }()
	return f(), true
}

func newPanic(component Mechanism, value any) Panic {
	return Panic{Component: component, Value: fmt.Sprint(value), Stack: string(debug.Stack())}
}
