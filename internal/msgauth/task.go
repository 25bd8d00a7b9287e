package msgauth

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Panic is a bug that showed while a stage ran: it costs the message that
// stage's result, never the process.
type Panic struct {
	Component Mechanism `json:"component"`
	Value     string    `json:"value"`
	Stack     string    `json:"-"`
}

// task is one stage running in the background.
type task[T any] struct {
	begin   time.Time
	done    chan struct{}
	value   T
	elapsed time.Duration
	panic   *Panic
	noted   bool // the panic is in an Evaluation
}

// start runs f in a goroutine of its own.
func start[T any](component Mechanism, f func() T) *task[T] {
	t := &task[T]{begin: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		defer func() {
			t.elapsed = time.Since(t.begin)
			if v := recover(); v != nil {
				p := newPanic(component, v)
				t.panic = &p
			}
		}()
		t.value = f()
	}()
	return t
}

// wait returns the task's value; ok is false when it panicked, which is noted
// in e, or when ctx ended first.
func (t *task[T]) wait(ctx context.Context, e *Evaluation) (value T, ok bool) {
	select {
	case <-t.done:
	default:
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
	select {
	case <-t.done:
		return t.elapsed
	default:
		return time.Since(t.begin)
	}
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
