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

// stage is the evaluation of one mechanism for one message or one connection. It is also the
// Resolver of the evaluator: it counts the lookups, bounds their number, and makes each lookup wait
// for a slot (see lookupSlots). Call setUp before use.
type stage struct {
	kind   *stageKind
	c      *Connection
	author dns.Name // the Author Domain; "" for SPF, iprev and ARC

	used    atomic.Int64 // all lookups, also those counted in refused
	refused atomic.Int64 // lookups that failed because of the limit, or because the message's time ran out
	noRoom  atomic.Int32 // of the refused lookups, those whose time ran out when queued was already true (KindBudget)
	busy    atomic.Int64 // nanoseconds in lookups, summed over all lookups
	queued  atomic.Bool  // a lookup of this stage had to wait for a slot that other messages held

	mu sync.Mutex
	// kept holds answers of the first run, which ended when it needed an answer that was not in
	// the cache. The second run takes them from here: Lookup and Peek look here before they ask
	// the resolver. The answers are already counted in used.
	kept []dns.Answer

	elapsed    time.Duration // time from begin to end of the evaluator; set when it has ended
	operations float64       // see [Cost]
}

// setUp makes s ready for use. author is the Author Domain of the message, "" for the stages that
// do not need it.
func (s *stage) setUp(c *Connection, i stageIndex, author dns.Name) {
	s.kind, s.c, s.author = &stages[i], c, author
}

// Lookup implements [dns.Resolver]. Above the maximum number of lookups, it fails with KindBudget
// and does not ask the resolver.
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
	// The message's time ran out. The error must not blame the server, whose answer may only have
	// come too late for this message.
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

// Peek implements [dns.Resolver]. An answer that Peek finds takes no slot and counts as a lookup
// that took no time. Above the maximum number of lookups Peek returns false, and the Lookup that
// follows counts the refusal.
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

// keep stores answers that Lookup and Peek return before they ask the resolver.
func (s *stage) keep(answers []dns.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = answers
}

// takeKept removes and returns one of the answers that keep stored.
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

// takeSlot waits for a slot in each pool: first in the pool of the stage, then in the pool of the
// organization, last in the pool of all messages. In this order, a lookup that still lacks a slot
// of its stage does not stand in the queue of a shared pool. takeSlot returns nil if ctx ends
// first.
func (s *stage) takeSlot(ctx context.Context, name dns.Name) *slots.Slot {
	what, owner := s.kind.purpose(s.author, name)
	shared, network := s.c.v.slots, network(s.c.client.Client)
	message, all := shared.messages[what].Of(s), shared.all[what]
	if of := shared.organizations[what]; of != nil {
		return shared.lock.Take(ctx, network, &s.queued, message, of.Of(owner), all)
	}
	return shared.lock.Take(ctx, network, &s.queued, message, all)
}

// spfAhead returns the Resolver for an SPF check that asks through s. How many questions the check
// asks early is in its arguments (see Options.SPFAhead).
func (s *stage) spfAhead() dns.Resolver { return dns.NewAhead(s) }

// ahead returns the Resolver for the evaluator: s itself, or with Options.LookAhead a [dns.Ahead]
// in front of s.
func (s *stage) ahead() dns.Resolver {
	if s.c.v.o.LookAhead {
		return dns.NewAhead(s)
	}
	return s
}
