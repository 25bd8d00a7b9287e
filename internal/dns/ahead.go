package dns

import (
	"context"
	"errors"
	"sync"
)

// Expecter is a [Resolver] that wants to hear beforehand what may be asked
// next. Expect returns at once; lookups it begins end with ctx.
type Expecter interface {
	Resolver
	Expect(ctx context.Context, typ Type, names ...Name)
}

// Expect tells r, if it is an [Expecter], what may be asked next.
func Expect(ctx context.Context, r Resolver, typ Type, names ...Name) {
	if e, ok := r.(Expecter); ok && len(names) > 0 {
		e.Expect(ctx, typ, names...)
	}
}

// Ahead is an [Expecter] that asks for all that is expected at once, so that
// questions that follow from each other only in whether they are asked take
// the time of one. Who asks then gets the same answers in the same order. An
// answer that nobody takes costs nobody's time.
//
// It is for one message: answers are kept as long as it is, and nothing bounds
// their number but what is expected. Safe for concurrent use.
type Ahead struct {
	next Resolver

	mu    sync.Mutex
	early []*early
}

// NewAhead returns an Ahead in front of next.
func NewAhead(next Resolver) *Ahead { return &Ahead{next: next} }

// early is a question asked before its turn. What came of it is set before
// done is closed.
type early struct {
	name     Name
	typ      Type
	done     chan struct{} // nil: the answer was known
	answer   Answer
	err      error
	panicked any
}

// Expect implements [Expecter]. What a [Peeker] knows takes no goroutine.
func (a *Ahead) Expect(ctx context.Context, typ Type, names ...Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, _ := a.next.(Peeker)
	for _, name := range names {
		if a.find(name, typ) != nil {
			continue
		}
		e := &early{name: name, typ: typ}
		a.early = append(a.early, e)
		if known != nil {
			var ok bool
			if e.answer, ok = known.Peek(name, typ); ok {
				continue
			}
		}
		e.done = make(chan struct{})
		go e.ask(ctx, a.next)
	}
}

// ask asks. A panic is for the one who takes the answer: here it would end the
// process.
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

// Lookup implements [Resolver].
func (a *Ahead) Lookup(ctx context.Context, name Name, typ Type) (Answer, error) {
	a.mu.Lock()
	e := a.find(name, typ)
	a.mu.Unlock()
	if e == nil {
		return a.next.Lookup(ctx, name, typ)
	}
	if e.done != nil {
		select {
		case <-e.done:
		case <-ctx.Done():
			return Answer{}, &Error{Kind: OutOfTime(a.next, ctx.Err()), Name: name, Type: typ, Err: ctx.Err()}
		}
	}
	if e.panicked != nil {
		panic(e.panicked)
	}
	var gaveUp *Error
	if errors.Is(e.err, context.DeadlineExceeded) || errors.As(e.err, &gaveUp) && (gaveUp.Kind == KindBudget || gaveUp.Kind == KindCanceled) {
		return a.next.Lookup(ctx, name, typ) // its time was over, ours is not
	}
	return e.answer, e.err
}
