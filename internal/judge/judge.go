// Package judge decides on a stored message as the daemon does on one that
// arrives: the same exemptions and limits, the same evaluation, the same
// policy. The commands explain and replay use it.
package judge

import (
	"context"
	"net/netip"
	"time"

	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Judge is one configuration at work.
type Judge struct {
	Verifier *msgauth.Verifier
	Policy   policy.Config
	// Trusted reports whether mail of a client is not evaluated.
	Trusted func(client netip.Addr) bool
	// TrustAuthenticated exempts clients that logged in.
	TrustAuthenticated bool
	MaxFields          int // of a header
	MaxHeaderBytes     int // octets of a header
	// Recipients says who agreed that verdicts are acted on; nil: everybody.
	Recipients Recipients
}

// Recipients is the directory of the recipients' consent.
type Recipients interface {
	Known(typed, rewritten string) (c policy.Class, ok bool)
	Lookup(ctx context.Context, typed, rewritten string) policy.Class
}

// Message is a stored message but for its body.
type Message struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	Header   message.Header
	// Whole is false where the header is larger than what was read of it.
	Whole bool
	// Time is when it is judged, as of receipt; zero is now.
	Time time.Time
	// Internal: it never came from outside.
	Internal bool
}

// Facts are what a verdict is made of: an evaluation, or why there is none.
type Facts struct {
	Evaluation *msgauth.Evaluation
	Skipped    policy.Reason // why the message is exempt, "" if it is not
	Oversize   string        // the limit that it is over, "" if none
	Consent    policy.Consent
}

// Case is a message under way. Finish or Close must be called.
type Case struct {
	judge        *Judge
	facts        Facts
	envelope     msgauth.Envelope
	connection   *msgauth.Connection
	verification *msgauth.Verification
}

// Begin starts a message.
func (j *Judge) Begin(ctx context.Context, m Message) *Case {
	c := &Case{judge: j, envelope: m.Envelope}
	switch {
	case m.Internal, j.Trusted(m.Session.Client):
		c.facts.Skipped = policy.ReasonTrusted
		return c
	case m.Session.Authenticated != "" && j.TrustAuthenticated:
		c.facts.Skipped = policy.ReasonAuthenticated
		return c
	}
	if c.facts.Oversize = j.oversized(m); c.facts.Oversize != "" {
		return c
	}
	verifier := j.Verifier
	if !m.Time.IsZero() {
		verifier = verifier.At(m.Time)
	}
	c.connection = verifier.Connect(ctx, m.Session)
	if m.Session.HELO != "" {
		c.connection.Helo(m.Session.HELO)
	}
	c.verification = c.connection.Begin(m.Session, m.Envelope)
	c.verification.EndOfHeader(m.Header)
	return c
}

// oversized names the limit that the milter would have stopped the message at.
func (j *Judge) oversized(m Message) string {
	size := 0
	for _, f := range m.Header {
		n := len(f.Name) + len(f.Value)
		if n > milter.DefaultMaxFieldBytes {
			return milter.OversizeFieldBytes
		}
		size += n
	}
	switch {
	case len(m.Header) > j.MaxFields:
		return milter.OversizeHeaderFields
	case !m.Whole || size > j.MaxHeaderBytes:
		return milter.OversizeHeaderBytes
	}
	return ""
}

// Write takes body octets in any portions.
func (c *Case) Write(body []byte) {
	if c.verification != nil {
		_, _ = c.verification.Write(body) // hashing does not fail
	}
}

// Close ends whatever still runs.
func (c *Case) Close() {
	if c.verification != nil {
		c.verification.Close()
		c.connection.Close()
	}
}

// Finish waits for the facts.
func (c *Case) Finish(ctx context.Context) Facts {
	defer c.Close()
	if c.verification != nil {
		c.facts.Evaluation = c.verification.Finish(ctx, c.envelope)
		c.facts.Consent = c.judge.consent(ctx, c.envelope.Recipients)
	}
	return c.facts
}

// consent asks for each recipient.
func (j *Judge) consent(ctx context.Context, recipients []string) (found policy.Consent) {
	if j.Recipients == nil {
		return found
	}
	for _, r := range recipients {
		class, ok := j.Recipients.Known(r, "")
		if !ok {
			class = j.Recipients.Lookup(ctx, r, "")
		}
		if class == policy.In {
			found.In++
		} else {
			found.Out++
		}
	}
	return found
}

// Decide returns what becomes of the message.
func (j *Judge) Decide(f Facts) policy.Verdict {
	switch {
	case f.Skipped != "":
		return policy.Skipped(f.Skipped)
	case f.Oversize != "":
		return policy.Oversized(f.Oversize, j.Policy)
	}
	return policy.Decide(f.Evaluation, j.Policy).Respect(f.Consent)
}
