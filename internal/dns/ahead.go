package dns

import (
	"context"
	"errors"
	"sync"
)

// Ahead is a Resolver for one message. It looks up every expected question at once, in the
// background. A caller that asks several questions one after the other, as the tree walk of DMARC
// does, then waits only as long as one question takes. It gets the same answers in the same order,
// and does not wait for expected questions that it does not ask.
//
// An Ahead keeps the answers to all expected questions as long as it exists. It is safe for
// concurrent use.
type Ahead struct {
	next Resolver

	mu    sync.Mutex
	early []*early
}

// NewAhead returns an Ahead in front of next.
func NewAhead(next Resolver) *Ahead { return &Ahead{next: next} }

// early is an expected question. Its outcome is set before the channel "done" is closed.
type early struct {
	name     Name
	typ      Type
	done     chan struct{} // nil if Peek of the next resolver found the answer
	answer   Answer
	err      error
	panicked any
}

// Expect implements [Resolver]: it starts the lookup. If Peek of the next resolver finds the
// answer, no goroutine is needed.
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

// ask looks up the question e. It stores a panic for the Lookup that needs the answer, because a
// panic in this goroutine would end the process.
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

// expected returns the early question for name and typ, or nil if the question was not expected.
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
		return a.next.Lookup(ctx, name, typ) // only the ctx of Expect has ended; this ctx has not
	}
	return e.answer, e.err
}

// Peek implements [Resolver]. It does not find the answer to an expected question; Lookup returns
// that answer.
func (a *Ahead) Peek(name Name, typ Type) (Answer, bool) {
	if a.expected(name, typ) != nil {
		return Answer{}, false
	}
	return a.next.Peek(name, typ)
}

// Queued implements [Resolver].
func (a *Ahead) Queued() bool { return a.next.Queued() }
