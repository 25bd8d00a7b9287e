package dns

import (
	"context"
	"errors"
)

// Resolver answers questions. It follows CNAMEs and is safe for concurrent use.
//
// A resolver that can only look up embeds [LookupOnly]. A wrapper implements all four methods, and
// the compiler notices if one is missing. That is why this is one interface with every method that
// an evaluator may call.
type Resolver interface {
	// Lookup answers one question before the context's deadline. A definite "no" is an Answer
	// without records. A non-nil error is an [*Error], possibly wrapped. It is temporary unless
	// [Error.Permanent] returns true.
	Lookup(ctx context.Context, name Name, typ Type) (Answer, error)

	// Peek returns the answer if the resolver already has it, for example in its cache, and the
	// answer is within its TTL. Lookup would return this answer at once. Peek never returns a
	// failure and does not wait for a server. A cache may renew a popular answer in the background
	// after a Peek.
	Peek(name Name, typ Type) (Answer, bool)

	// Expect announces a question that the caller may ask later, and returns at once. A resolver
	// that looks ahead starts the lookup now; the lookup ends with ctx. Expect returns false if the
	// resolver does not look ahead. Further calls are then useless.
	Expect(ctx context.Context, name Name, typ Type) bool

	// Queued reports whether a lookup had to wait for a slot because other lookups held all of
	// them. If a lookup runs out of time and Queued returns true, the servers may not be the
	// reason.
	Queued() bool
}

// LookupOnly is embedded by a Resolver that can only look up: its Peek finds no answer, it does not
// look ahead, and its lookups wait for no slots. A wrapper must not embed it, because that would
// hide what the resolver behind the wrapper can do.
type LookupOnly struct{}

// Peek implements [Resolver]: it finds no answer.
func (LookupOnly) Peek(Name, Type) (Answer, bool) { return Answer{}, false }

// Expect implements [Resolver]: it does not look ahead.
func (LookupOnly) Expect(context.Context, Name, Type) bool { return false }

// Queued implements [Resolver]: no lookup had to wait for a slot.
func (LookupOnly) Queued() bool { return false }

// ContextKind returns the kind of failure for a lookup whose context ended with err: the caller
// stopped waiting, or no answer came in time.
func ContextKind(err error) ErrorKind {
	if errors.Is(err, context.Canceled) {
		return KindCanceled
	}
	return KindTimeout
}

// OutOfTime returns the failure of a lookup in r whose context ended with err. If the caller
// stopped waiting, the kind is KindCanceled. If the time ran out, it is KindBudget if lookups had
// to wait for a slot in r, else KindTimeout.
func OutOfTime(r Resolver, err error, name Name, typ Type) *Error {
	kind := ContextKind(err)
	if kind == KindTimeout && r.Queued() {
		kind = KindBudget
	}
	return &Error{Kind: kind, Name: name, Type: typ, Err: err}
}
