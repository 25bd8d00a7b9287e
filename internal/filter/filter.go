// Package filter is a message's life on one page: the milter's events drive a
// msgauth.Verification, package policy decides on its Evaluation, and the
// verdict becomes header edits, a quarantine or a reply.
package filter

import (
	"net/netip"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/smtp"
)

// Options are what the operator set. Verifier and AuthServID are required.
type Options struct {
	Verifier *msgauth.Verifier
	Policy   policy.Config
	// Shadow is a candidate policy to compare with, nil if there is none.
	Shadow *policy.Config
	// TrustedNetwork reports whether a client's mail is not evaluated, one's
	// own hosts for instance; nil trusts nobody.
	TrustedNetwork func(client netip.Addr) bool
	// TrustAuthenticated exempts clients that logged in.
	TrustAuthenticated bool
	AuthServID         string
	ReceivedSPF        bool
	// Verdict adds VerdictField. Subject, if not "", is put before the Subject
	// of fails that are delivered. Style spells the dmarc result.
	Verdict bool
	Subject string
	Style   Style
	// Recipients tells who agreed that verdicts are acted on; nil: everybody.
	// ConsentWait is how long end of message waits for what it does not know
	// yet. Split keeps recipients of the two classes in messages of their own;
	// the server must then give replies at RCPT, see ReplyAt.
	Recipients  Recipients
	ConsentWait time.Duration
	Split       bool
	// Observers are told of every message. They must not block.
	Observers []Observer
}

// Observer learns what became of each message, after it was decided.
type Observer interface {
	// Evaluated: took is how long end of message took here.
	Evaluated(e *msgauth.Evaluation, v policy.Verdict, took time.Duration)
	// NotEvaluated: skipped for trust, or refused for its size.
	NotEvaluated(s msgauth.Session, e msgauth.Envelope, v policy.Verdict)
}

// Filter makes the sessions of a milter.Server.
type Filter struct{ o Options }

// New returns a Filter.
func New(o Options) *Filter { return &Filter{o} }

// NewSession is for milter.Options.
func (f *Filter) NewSession(c *milter.Conn) milter.Session { return &session{o: &f.o, conn: c} }

// OnPanic answers a message whose session panicked: nothing of it is known, so
// it has to come again, but in monitor mode nothing is ever acted on.
func OnPanic(c policy.Config) milter.Reply {
	if c.Mode == policy.Monitor {
		return milter.Accept
	}
	return milter.Custom(smtp.CodeLocalError, smtp.EnhancedSystem, "Internal error, try again later")
}

// ReplyAt is where the sessions give replies: only at end of message, so that
// the MTA waits for nothing before, and at RCPT where classes are split.
func (f *Filter) ReplyAt() milter.ReplyAt { return milter.ReplyAt{Rcpt: f.o.split()} }

// split reports whether recipients are ever asked to come apart: monitor mode
// turns nothing away.
func (o *Options) split() bool {
	return o.Split && o.Recipients != nil && o.Policy.Mode != policy.Monitor
}
