package dns

import (
	"context"
	"sync"
	"time"
)

// Lookup is one question asked through a [Trace], with its outcome.
type Lookup struct {
	Name     Name          `json:"name"`
	Type     Type          `json:"type"`
	Answer   *Answer       `json:"answer,omitempty"`
	Error    string        `json:"error,omitempty"`
	Duration time.Duration `json:"duration_ns"`
}

// Trace is a Resolver that remembers every answer and failure that came through
// it. Safe for concurrent use.
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

// Peek implements [Resolver]. An answer that is at hand is remembered as Lookup's
// would be.
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

// Lookups returns what was asked so far, in order of completion.
func (t *Trace) Lookups() []Lookup {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Lookup(nil), t.lookups...)
}
