package dns

import (
	"context"
	"errors"
)

// Resolver answers questions. It follows CNAMEs and is safe for concurrent use.
//
// All that an evaluator may ask of a resolver is in this one interface, so that a
// wrapper cannot forget a part of it. A resolver without a cache, a plan or other
// users embeds [LookupOnly]; a wrapper writes all four methods.
type Resolver interface {
	// Lookup answers one question by the context's deadline. A definite "no" is
	// an Answer without records. A non-nil error is an [*Error], possibly
	// wrapped, and temporary unless it is [Error.Permanent].
	Lookup(ctx context.Context, name Name, typ Type) (Answer, error)

	// Peek returns the answer if it is at hand. It asks no server and does not
	// block. It reports false unless Lookup would return a good answer at once
	// and do nothing else: the answer is known, within its TTL and not due for
	// renewal, and it is not a failure.
	Peek(name Name, typ Type) (Answer, bool)

	// Expect announces a question that may follow, and returns at once. It
	// reports whether the resolver asks ahead; if it does not, announcing more
	// questions is of no use. What it asks ends with ctx.
	Expect(ctx context.Context, name Name, typ Type) bool

	// Queued reports whether any lookup had to wait until lookups of others made
	// room for it. A lookup that then ran out of time says nothing about servers.
	Queued() bool
}

// LookupOnly is embedded by a Resolver that only looks up: it has nothing at
// hand, does not ask ahead and makes no lookup wait. It is not for a Resolver in
// front of another, which would then hide what the other one can do.
type LookupOnly struct{}

// Peek implements [Resolver]: nothing is at hand.
func (LookupOnly) Peek(Name, Type) (Answer, bool) { return Answer{}, false }

// Expect implements [Resolver]: it asks nothing ahead.
func (LookupOnly) Expect(context.Context, Name, Type) bool { return false }

// Queued implements [Resolver]: no lookup had to wait for others.
func (LookupOnly) Queued() bool { return false }

// ContextKind is the kind of failure of a lookup whose context ended, err being
// that context's error: the asker left, or no answer came in time.
func ContextKind(err error) ErrorKind {
	if errors.Is(err, context.Canceled) {
		return KindCanceled
	}
	return KindTimeout
}

// OutOfTime returns the failure of a question that was put to r and whose context
// ended, err being that context's error. It is a timeout if servers were slow, and
// KindBudget if lookups had to queue in r.
func OutOfTime(r Resolver, err error, name Name, typ Type) *Error {
	kind := ContextKind(err)
	if kind == KindTimeout && r.Queued() {
		kind = KindBudget
	}
	return &Error{Kind: kind, Name: name, Type: typ, Err: err}
}
