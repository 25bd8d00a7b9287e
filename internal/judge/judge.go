// Package judge is the one place where it is decided what becomes of a message:
// whether the message is evaluated at all, what the policy makes of the facts, whether
// a recipient opted out, and which edits are made. The daemon calls it with the events
// of a milter session; explain and replay call it with a stored message.
package judge

import (
	"context"
	"net/netip"
	"time"

	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Judge holds the settings of one generation. Verifier and Label are required.
type Judge struct {
	Verifier *msgauth.Verifier
	Policy   policy.Config
	// Shadow is a candidate policy to compare with, nil if there is none.
	Shadow *policy.Config
	// Trusted reports whether a client is in a trusted network, whose mail is not
	// evaluated. nil trusts no client.
	Trusted func(client netip.Addr) bool
	// TrustAuthenticated exempts clients that logged in.
	TrustAuthenticated bool
	// Label says how messages are labelled. AuthServID or HostName must be set.
	Label label.Settings
	// Recipients says which recipients agreed that verdicts are acted on; nil is all.
	// ConsentWait is how long the end of a message waits for lookups that still run.
	// Split has clients send separate messages to recipients of the two classes.
	Recipients  Recipients
	ConsentWait time.Duration
	Split       bool
	// MaxFields and MaxHeaderBytes bound the header of a stored message. For a message
	// that comes by milter, package milter has applied these limits before.
	MaxFields, MaxHeaderBytes int
}

// Trusts reports whether the client is in a trusted network.
func (j *Judge) Trusts(client netip.Addr) bool { return j.Trusted != nil && j.Trusted(client) }

// Decision is what becomes of a message, and why. The receiver of a pointer to a
// Decision may keep the pointer and everything behind it. The receiver must not change
// a Decision, because other receivers have the same pointer.
type Decision struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	// One of these three is set, and is the base of the verdict: the reason why the
	// message is exempt, the limit that it crossed, or the facts.
	Skipped    policy.Reason
	Oversize   string
	Evaluation *msgauth.Evaluation

	Verdict policy.Verdict
	Shadow  *Comparison // nil without a candidate, and without an Evaluation
	// Edits are the changes to the message, in the order in which they are made.
	Edits []label.Edit
}

// Comparison has the verdicts of the policy in effect and of a candidate on the same
// facts. Both ignore the consent of the recipients, which is the same for both.
type Comparison struct {
	Live      policy.Verdict `json:"live"`
	Candidate policy.Verdict `json:"candidate"`
}

// Connection is what is known about a client, for all its messages.
type Connection struct {
	judge    *Judge
	trusted  bool // the client is in a trusted network, or the message is internal
	verifier *msgauth.Connection
	identity *label.Identity // nil until Identify or self is called
	writer   label.Writer
}

// Connect starts the checks that depend on the client alone.
func (j *Judge) Connect(ctx context.Context, client msgauth.Session) Connection {
	return j.connect(ctx, j.Verifier, client, false)
}

// connect is Connect with a verifier to be used, which may be nil: then DNS is asked
// nothing and no message is evaluated. internal makes the connection a trusted one.
func (j *Judge) connect(ctx context.Context, verifier *msgauth.Verifier, client msgauth.Session, internal bool) Connection {
	c := Connection{judge: j, trusted: internal || client.Client.IsValid() && j.Trusts(client.Client)}
	if !c.trusted && verifier != nil {
		c.verifier = verifier.Connect(ctx, msgauth.Session{Client: client.Client, ClientName: client.ClientName})
	}
	return c
}

// Helo starts the checks that depend on the HELO name.
func (c *Connection) Helo(name string) {
	if c.verifier != nil {
		c.verifier.Helo(name)
	}
}

// Identify sets the identity in which messages of the connection are labelled.
func (c *Connection) Identify(i *label.Identity) { c.identity = i }

func (c *Connection) self() *label.Identity {
	if c.identity == nil {
		c.identity = c.judge.Label.Identity("")
	}
	return c.identity
}

// Close ends the background work for the connection.
func (c *Connection) Close() {
	if c.verifier != nil {
		c.verifier.Close()
		c.verifier = nil
	}
}

// Message is a stored message without its body.
type Message struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	Header   message.Header
	// Whole is false where Header is only the beginning of a header that is too large.
	Whole bool
	// Time is the time of receipt, as of which the message is judged; zero is now.
	Time time.Time
	// Internal says that the message never came from outside.
	Internal bool
}

// Stored is a stored message that is not decided on yet. Finish or Close must be
// called.
type Stored struct {
	Case
	connection Connection
}

// Open starts a stored message and evaluates it as far as the end of its header.
func (j *Judge) Open(ctx context.Context, m Message) *Stored {
	verifier, over := j.Verifier, j.oversized(m)
	switch {
	case over != "":
		verifier = nil
	case !m.Time.IsZero():
		verifier = verifier.At(m.Time)
	}
	s := &Stored{connection: j.connect(ctx, verifier, m.Session, m.Internal)}
	if m.Session.HELO != "" {
		s.connection.Helo(m.Session.HELO)
	}
	recipients := m.Envelope.Recipients
	m.Envelope.Recipients = nil
	s.Case = s.connection.Begin(m.Session, m.Envelope)
	s.Envelope.Recipients = recipients
	for _, r := range recipients {
		s.ask(recipient{typed: r})
	}
	s.header = m.Header
	if over != "" {
		s.Oversize(over)
	} else {
		s.EndOfHeader()
	}
	return s
}

// Close ends the background work for the message.
func (s *Stored) Close() {
	s.Case.Close()
	s.connection.Close()
}

// Finish decides on the message as Case.Finish does, and closes the message.
func (s *Stored) Finish(ctx context.Context) Decision {
	defer s.Close()
	return s.Case.Finish(ctx)
}

// oversized returns the limit at which package milter would have stopped the message,
// "" if there is none.
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

// Again returns j's own verdict on a message that another judge has decided on.
func (j *Judge) Again(d *Decision) policy.Verdict {
	switch {
	case d.Skipped != "":
		return policy.Skipped(d.Skipped)
	case d.Oversize != "":
		return policy.Oversized(d.Oversize, j.Policy)
	}
	return policy.Decide(d.Evaluation, j.Policy).Respect(d.Verdict.Consent)
}
