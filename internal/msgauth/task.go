package msgauth

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"sekimori/internal/dns"
)

// Panic is a panic in a stage. It costs the message the result of that stage; the
// process goes on.
type Panic struct {
	Component Mechanism `json:"component"`
	Value     string    `json:"value"`
	Stack     string    `json:"-"`
}

// task is a stage whose evaluator runs as a whole, here or in the background. Its
// zero value is a task that ended without a result.
type task[T any] struct {
	stage
	begin    time.Time
	firstRun firstRun
	done     chan struct{} // nil: it ended where it began
	value    T
	panic    *Panic
	noted    bool // the panic is in an Evaluation
}

// evaluator is what a task does: a function of an evaluator package with its
// arguments.
type evaluator[T any] func(context.Context, dns.Resolver) T

// start runs f. If every answer is at hand, as for most messages, f runs in this
// goroutine and costs no other goroutine, stack or timer. Otherwise f runs again
// from its beginning in the background and asks r, which asks through the stage.
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

// firstRun is the Resolver of a task's first run, which asks nothing. The first
// question whose answer is not at hand makes the run void.
type firstRun struct {
	dns.LookupOnly // its Lookup gives what Peek of the stage has
	stage          *stage
	found          []dns.Answer
	missed         bool
}

// errMissed ends a run that is void. The result of that run is dropped, so nothing
// shows this error.
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

// ended reports whether the task is over.
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

// ending returns a channel that is closed when the task ends; nil if it has ended.
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
	if !t.noted { // each message of a connection waits for the connection's tasks
		t.noted = true
		e.Panics = append(e.Panics, *t.panic)
	}
	return value, false
}

// guard runs f in this goroutine. ok is false if f panicked, which is noted in e.
func guard[T any](component Mechanism, e *Evaluation, f func() T) (value T, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			e.Panics = append(e.Panics, newPanic(component, v))
		}
	}()
	return f(), true
}

func newPanic(component Mechanism, value any) Panic {
	return Panic{Component: component, Value: fmt.Sprint(value), Stack: string(debug.Stack())}
}
