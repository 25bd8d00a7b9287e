package dns

import (
	"context"
	"sync/atomic"
	"time"
)

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

// Peek implements [Resolver]. What it answers counts as a lookup that took no
// time. Past the limit it is false, and the refusal is for Lookup to count.
func (m *Meter) Peek(name Name, typ Type) (Answer, bool) {
	if m.used.Load() >= m.max {
		return Answer{}, false
	}
	answer, ok := m.next.Peek(name, typ)
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
	failed := OutOfTime(m.next, err, name, typ)
	if failed.Kind != KindCanceled {
		m.refused.Add(1)
	}
	return failed
}

// Expect implements [Resolver].
func (m *Meter) Expect(ctx context.Context, name Name, typ Type) bool {
	return m.next.Expect(ctx, name, typ)
}

// Queued implements [Resolver].
func (m *Meter) Queued() bool { return m.next.Queued() }

// Lookups returns how many questions were put, including refused ones.
func (m *Meter) Lookups() int { return int(m.used.Load()) }

// Exceeded returns how many lookups the budget cost their answer.
func (m *Meter) Exceeded() int { return int(m.refused.Load()) }

// Busy returns the time spent in lookups, summed over concurrent ones.
func (m *Meter) Busy() time.Duration { return time.Duration(m.busy.Load()) }
