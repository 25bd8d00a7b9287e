package msgauth

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"sekimori/internal/dns"
)

// Panic is a bug that showed while a stage ran: it costs the message that
// stage's result, never the process.
type Panic struct {
	Component Mechanism `json:"component"`
	Value     string    `json:"value"`
	Stack     string    `json:"-"`
}

// task is one stage of a message or connection. Its zero value is a stage that
// ended without a result.
type task[T any] struct {
	component Mechanism
	begin     time.Time
	try       attempt
	done      chan struct{} // nil: it ended where it began
	value     T
	elapsed   time.Duration
	panic     *Panic
	noted     bool // the panic is in an Evaluation
}

// stage is what a task does: an evaluator with its arguments.
type stage[T any] func(context.Context, dns.Resolver) T

// start runs f. If the resolver has every answer at hand, which is the rule, f
// runs here and costs no goroutine, stack or timer. Otherwise f runs again from
// its beginning in the background; it asks r, which asks through meter.
func (t *task[T]) start(ctx context.Context, v *Verifier, component Mechanism, meter *meter, r dns.Resolver, f stage[T]) {
	t.component, t.begin = component, time.Now()
	buffer := v.answers.Get().(*[]dns.Answer)
	t.try = attempt{meter: meter, found: *buffer}
	t.run(ctx, &t.try, f)
	found, missed := t.try.found, t.try.missed
	t.try = attempt{}
	if !missed {
		clear(found)
		*buffer = found[:0]
		v.answers.Put(buffer)
		return
	}
	var none T
	t.value, t.panic = none, nil
	meter.keep(found)
	t.done = make(chan struct{})
	go func() {
		defer close(t.done)
		t.run(ctx, r, f)
	}()
}

func (t *task[T]) run(ctx context.Context, r dns.Resolver, f stage[T]) {
	defer func() {
		t.elapsed = time.Since(t.begin)
		if v := recover(); v != nil {
			p := newPanic(t.component, v)
			t.panic = &p
		}
	}()
	t.value = f(ctx, r)
}

// attempt is the Resolver of a stage's first run. It only peeks. The first
// question whose answer is not at hand makes the run void.
type attempt struct {
	dns.LookupOnly // the stage looks up, and what it gets is what Peek of meter has
	meter          *meter
	found          []dns.Answer
	missed         bool
}

// errMissed ends a run that is void. Its result is dropped, so that nothing shows
// this error.
var errMissed = &dns.Error{Kind: dns.KindCanceled}

// Lookup implements [dns.Resolver].
func (a *attempt) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if !a.missed {
		if answer, ok := a.meter.Peek(name, typ); ok {
			a.found = append(a.found, answer)
			return answer, nil
		}
		a.missed = true
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

// died reports whether the task ended by a panic.
func (t *task[T]) died() bool { return t.ended() && t.panic != nil }

// open returns a channel that is closed when the task ends; nil if it has.
func (t *task[T]) open() <-chan struct{} {
	if t.ended() {
		return nil
	}
	return t.done
}

// wait returns the task's value; ok is false when it panicked, which is noted
// in e, or when ctx ended first.
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
	if !t.noted { // a connection's task is waited for by each of its messages
		t.noted = true
		e.Panics = append(e.Panics, *t.panic)
	}
	return value, false
}

// elapsedTime is how long the task took, or has taken so far.
func (t *task[T]) elapsedTime() time.Duration {
	if t.ended() {
		return t.elapsed
	}
	return time.Since(t.begin)
}

// guard runs f here; ok is false when it panicked, which is noted in e.
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
