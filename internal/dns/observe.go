package dns

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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

// Trace is a Resolver that remembers every lookup made through it. Safe for
// concurrent use.
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
	t.mu.Lock()
	t.lookups = append(t.lookups, l)
	t.mu.Unlock()
	return answer, err
}

// Lookups returns what was asked so far, in order of completion.
func (t *Trace) Lookups() []Lookup {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Lookup(nil), t.lookups...)
}

// Shared is a Resolver in which others ask as well, so that there may be no room
// for a question when it comes. Crowded reports whether any had to wait for
// that.
type Shared interface {
	Resolver
	Crowded() bool
}

// OutOfTime is the kind of failure of a question that was put to r and ended by
// err, that of a context: want of room where others took it, and a timeout
// where there was room all the time and servers were slow.
func OutOfTime(r Resolver, err error) ErrorKind {
	if errors.Is(err, context.Canceled) {
		return KindCanceled
	}
	if s, ok := r.(Shared); ok && !s.Crowded() {
		return KindTimeout
	}
	return KindBudget
}

// Meter is a Resolver that bounds and measures what one message costs: at most
// a number of lookups, all of them before a deadline carried by the context.
// Past either, lookups fail without asking anyone, those past the number with
// KindBudget. Safe for concurrent use.
type Meter struct {
	next    Resolver
	max     int64
	used    atomic.Int64
	refused atomic.Int64
	busy    atomic.Int64 // nanoseconds, summed over concurrent lookups
}

// NewMeter returns a Meter that passes at most limit lookups to next.
func NewMeter(next Resolver, limit int) *Meter {
	m := &Meter{}
	m.Reset(next, limit)
	return m
}

// Reset makes m what NewMeter would return. Nobody else may use it meanwhile.
func (m *Meter) Reset(next Resolver, limit int) {
	m.next, m.max = next, int64(limit)
	m.used.Store(0)
	m.refused.Store(0)
	m.busy.Store(0)
}

// Peek implements [Peeker]; it is false if next is no Peeker. What it answers
// counts as a lookup that took no time. Past the limit it is false, and the
// refusal is for Lookup to count.
func (m *Meter) Peek(name Name, typ Type) (Answer, bool) {
	p, ok := m.next.(Peeker)
	if !ok || m.used.Load() >= m.max {
		return Answer{}, false
	}
	answer, ok := p.Peek(name, typ)
	if ok {
		m.used.Add(1)
	}
	return answer, ok
}

// Lookup implements [Resolver].
func (m *Meter) Lookup(ctx context.Context, name Name, typ Type) (Answer, error) {
	if m.used.Add(1) > m.max {
		m.refused.Add(1)
		return Answer{}, &Error{Kind: KindBudget, Name: name, Type: typ}
	}
	if err := ctx.Err(); err != nil {
		return Answer{}, m.expired(name, typ, err)
	}
	begin := time.Now()
	answer, err := m.next.Lookup(ctx, name, typ)
	m.busy.Add(int64(time.Since(begin)))
	if err != nil && ctx.Err() != nil {
		// The message's time ran out, not the server's: an answer that came
		// too late for us says nothing about the upstream.
		return Answer{}, m.expired(name, typ, err)
	}
	return answer, err
}

func (m *Meter) expired(name Name, typ Type, err error) error {
	kind := OutOfTime(m.next, err)
	if kind != KindCanceled {
		m.refused.Add(1)
	}
	return &Error{Kind: kind, Name: name, Type: typ, Err: err}
}

// Crowded implements [Shared]. Where next does not know, it is true.
func (m *Meter) Crowded() bool {
	s, ok := m.next.(Shared)
	return !ok || s.Crowded()
}

// Lookups returns how many questions were put, including refused ones.
func (m *Meter) Lookups() int { return int(m.used.Load()) }

// Exceeded returns how many lookups the budget cost their answer.
func (m *Meter) Exceeded() int { return int(m.refused.Load()) }

// Busy returns the time spent in lookups, summed over concurrent ones.
func (m *Meter) Busy() time.Duration { return time.Duration(m.busy.Load()) }
