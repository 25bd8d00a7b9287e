package msgauth

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/slots"
)

// stage is one mechanism at work for a message or a connection, and the Resolver
// of its evaluator. It counts the lookups and bounds their number, and each lookup
// waits for a slot among the lookups of others. Call setUp before use.
type stage struct {
	kind   *stageKind
	c      *Connection
	author dns.Name // the Author Domain; "" for the stages of a client

	used    atomic.Int64 // questions, those that were refused included
	refused atomic.Int64 // questions that the limit or the message's time left without an answer
	noRoom  atomic.Int32 // those among them that had to wait for a slot
	busy    atomic.Int64 // nanoseconds in lookups, summed over concurrent ones
	queued  atomic.Bool  // a lookup had to wait for a slot that others held

	mu sync.Mutex
	// kept are the answers that the first run found before it missed one. They
	// are counted already, and are given out before anything is asked.
	kept []dns.Answer

	elapsed    time.Duration // set when the evaluator has ended
	operations float64       // see [Cost]
}

// setUp makes s ready. author is the domain of a message's author, "" for the
// stages of a client.
func (s *stage) setUp(c *Connection, i stageIndex, author dns.Name) {
	s.kind, s.c, s.author = &stages[i], c, author
}

// Lookup implements [dns.Resolver]. Past the number of lookups it fails with
// KindBudget and asks nothing.
func (s *stage) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if a, ok := s.takeKept(name, typ); ok {
		return a, nil
	}
	if s.used.Add(1) > int64(s.kind.maxLookups) {
		s.refused.Add(1)
		return dns.Answer{}, &dns.Error{Kind: dns.KindBudget, Name: name, Type: typ}
	}
	if err := ctx.Err(); err != nil {
		return dns.Answer{}, s.outOfTime(err, name, typ)
	}
	begin := time.Now()
	defer func() { s.busy.Add(int64(time.Since(begin))) }()
	slot := s.takeSlot(ctx, name)
	if slot != nil {
		defer slot.Release()
		answer, err := s.c.v.resolver.Lookup(ctx, name, typ)
		if err == nil || ctx.Err() == nil {
			return answer, err
		}
	}
	// The message's time ran out, not the server's: an answer that came too late
	// for this message says nothing about the server.
	failed := s.outOfTime(ctx.Err(), name, typ)
	if failed.Kind == dns.KindBudget {
		s.noRoom.Add(1)
	}
	return dns.Answer{}, failed
}

func (s *stage) outOfTime(err error, name dns.Name, typ dns.Type) *dns.Error {
	failed := dns.OutOfTime(s, err, name, typ)
	if failed.Kind != dns.KindCanceled {
		s.refused.Add(1)
	}
	return failed
}

// Peek implements [dns.Resolver]. An answer at hand takes no slot and counts as a
// lookup that took no time. Past the number of lookups nothing is at hand; Lookup
// then counts the refusal.
func (s *stage) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	if a, ok := s.takeKept(name, typ); ok {
		return a, true
	}
	if s.used.Load() >= int64(s.kind.maxLookups) {
		return dns.Answer{}, false
	}
	answer, ok := s.c.v.resolver.Peek(name, typ)
	if ok {
		s.used.Add(1)
	}
	return answer, ok
}

// Expect implements [dns.Resolver].
func (s *stage) Expect(ctx context.Context, name dns.Name, typ dns.Type) bool {
	return s.c.v.resolver.Expect(ctx, name, typ)
}

// Queued implements [dns.Resolver].
func (s *stage) Queued() bool { return s.queued.Load() }

// keep stores answers that are given out before anything is asked.
func (s *stage) keep(answers []dns.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = answers
}

// takeKept gives out one of the answers that keep stored.
func (s *stage) takeKept(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, a := range s.kept {
		if a.Name == name && a.Type == typ {
			s.kept = slices.Delete(s.kept, i, i+1)
			return a, true
		}
	}
	return dns.Answer{}, false
}

// takeSlot waits for a slot, and returns nil if ctx ends first. A message waits
// for one of its own first, so that it holds no place in a queue that it could not
// use, and for one of the organization before one of all.
func (s *stage) takeSlot(ctx context.Context, name dns.Name) *slots.Slot {
	what, owner := s.kind.purpose(s.author, name)
	shared, network := s.c.v.slots, network(s.c.client.Client)
	message, all := shared.messages[what].Of(s), shared.all[what]
	if of := shared.organizations[what]; of != nil {
		return shared.lock.Take(ctx, network, &s.queued, message, of.Of(owner), all)
	}
	return shared.lock.Take(ctx, network, &s.queued, message, all)
}

// ahead returns the Resolver for an evaluator that asks through s.
func (s *stage) ahead() dns.Resolver {
	if s.c.v.o.LookAhead {
		return dns.NewAhead(s)
	}
	return s
}
