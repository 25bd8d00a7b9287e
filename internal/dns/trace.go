package dns

import (
	"context"
	"sync"
	"time"
)

// Lookup is one question that was asked through a [Trace], with its outcome.
type Lookup struct {
	Name     Name          `json:"name"`
	Type     Type          `json:"type"`
	Answer   *Answer       `json:"answer,omitempty"`
	Error    string        `json:"error,omitempty"`
	Duration time.Duration `json:"duration_ns"`
}

// Trace is a Resolver that records the outcome of every question that is asked through it. It is
// safe for concurrent use.
type Trace struct {
	next    Resolver
	mu      sync.Mutex
	lookups []Lookup
}

// NewTrace returns a Trace in front of next.
func NewTrace(next Resolver) *Trace { return &Trace{next: next} }

// Lookup implements [Resolver].
func (t *Trace) Lookup(ctx context.Context, name Name, typ Type) (Answer, error) {
	begin := time.Now()
	answer, err := t.next.Lookup(ctx, name, typ)
	l := Lookup{Name: name, Type: typ, Duration: time.Since(begin)}
	if err != nil {
		l.Error = err.Error()
	} else {
		l.Answer = &answer
	}
	t.remember(l)
	return answer, err
}

// Peek implements [Resolver]. It records an answer in the same way as Lookup.
func (t *Trace) Peek(name Name, typ Type) (Answer, bool) {
	begin := time.Now()
	answer, ok := t.next.Peek(name, typ)
	if ok {
		t.remember(Lookup{Name: name, Type: typ, Answer: &answer, Duration: time.Since(begin)})
	}
	return answer, ok
}

// Expect implements [Resolver].
func (t *Trace) Expect(ctx context.Context, name Name, typ Type) bool {
	return t.next.Expect(ctx, name, typ)
}

// Queued implements [Resolver].
func (t *Trace) Queued() bool { return t.next.Queued() }

func (t *Trace) remember(l Lookup) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lookups = append(t.lookups, l)
}

// Lookups returns the recorded lookups, in the order in which they ended.
func (t *Trace) Lookups() []Lookup {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Lookup(nil), t.lookups...)
}
