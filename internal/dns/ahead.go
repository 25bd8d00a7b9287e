package dns

import (
	"context"
	"errors"
	"sync"
)

// Ahead is a Resolver for one message that asks every expected question at once, in
// the background. A walk in which each answer decides whether the next question is
// asked then takes the time of one question. The caller gets the same answers in
// the same order, and does not wait for an answer that it does not take.
//
// Ahead keeps every answer until it is garbage itself; only the number of expected
// questions bounds them. Safe for concurrent use.
type Ahead struct {
	next Resolver

	mu    sync.Mutex
	early []*early
}

// NewAhead returns an Ahead in front of next.
func NewAhead(next Resolver) *Ahead { return &Ahead{next: next} }

// early is a question asked before its turn. Its outcome is set before done is
// closed.
type early struct {
	name     Name
	typ      Type
	done     chan struct{} // nil: the answer was at hand
	answer   Answer
	err      error
	panicked any
}

// Expect implements [Resolver]: it begins to ask. An answer that is at hand takes
// no goroutine.
func (a *Ahead) Expect(ctx context.Context, name Name, typ Type) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.find(name, typ) != nil {
		return true
	}
	e := &early{name: name, typ: typ}
	a.early = append(a.early, e)
	var ok bool
	if e.answer, ok = a.next.Peek(name, typ); !ok {
		e.done = make(chan struct{})
		go e.ask(ctx, a.next)
	}
	return true
}

// ask asks. It keeps a panic for the caller that takes the answer; in this
// goroutine the panic would end the process.
func (e *early) ask(ctx context.Context, r Resolver) {
	defer close(e.done)
	defer func() { e.panicked = recover() }()
	e.answer, e.err = r.Lookup(ctx, e.name, e.typ)
}

func (a *Ahead) find(name Name, typ Type) *early {
	for _, e := range a.early {
		if e.name == name && e.typ == typ {
			return e
		}
	}
	return nil
}

// expected returns the question if it was asked before its turn, else nil.
func (a *Ahead) expected(name Name, typ Type) *early {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.find(name, typ)
}

// Lookup implements [Resolver].
func (a *Ahead) Lookup(ctx context.Context, name Name, typ Type) (Answer, error) {
	e := a.expected(name, typ)
	if e == nil {
		return a.next.Lookup(ctx, name, typ)
	}
	if e.done != nil {
		select {
		case <-e.done:
		case <-ctx.Done():
			return Answer{}, OutOfTime(a.next, ctx.Err(), name, typ)
		}
	}
	if e.panicked != nil {
		panic(e.panicked)
	}
	var failed *Error
	if errors.Is(e.err, context.DeadlineExceeded) || errors.As(e.err, &failed) && failed.AskerGaveUp() {
		return a.next.Lookup(ctx, name, typ) // the time of Expect's ctx was over; this ctx still has time
	}
	return e.answer, e.err
}

// Peek implements [Resolver]. A question that was asked before its turn is left
// to Lookup.
func (a *Ahead) Peek(name Name, typ Type) (Answer, bool) {
	if a.expected(name, typ) != nil {
		return Answer{}, false
	}
	return a.next.Peek(name, typ)
}

// Queued implements [Resolver].
func (a *Ahead) Queued() bool { return a.next.Queued() }
