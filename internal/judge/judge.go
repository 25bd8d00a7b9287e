// Package judge is the one place where it is decided what becomes of a message:
// whether it is evaluated at all, what the policy makes of the facts, whether a
// recipient opted out, and what is written into it. The daemon drives it with the
// events of a milter session, explain and replay with the octets of a file.
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

// Judge is the settings of one generation. Verifier and Label are required.
type Judge struct {
	Verifier *msgauth.Verifier
	Policy   policy.Config
	// Shadow is a candidate policy to compare with, nil if there is none.
	Shadow *policy.Config
	// Trusted reports whether a client's mail is not evaluated, one's own hosts
	// for instance; nil trusts nobody.
	Trusted func(client netip.Addr) bool
	// TrustAuthenticated exempts clients that logged in.
	TrustAuthenticated bool
	// Label is how messages are labelled; one of its AuthServID and HostName is
	// required.
	Label label.Settings
	// Recipients tells who agreed that verdicts are acted on; nil: everybody.
	// ConsentWait is how long the end of a message waits for what it does not
	// know yet. Split keeps recipients of the two classes in messages of their
	// own.
	Recipients  Recipients
	ConsentWait time.Duration
	Split       bool
	// MaxFields and MaxHeaderBytes bound the header of a stored message. What
	// comes by milter was held to them before it comes here.
	MaxFields, MaxHeaderBytes int
}

// Trusts reports whether the client is in a trusted network.
func (j *Judge) Trusts(client netip.Addr) bool { return j.Trusted != nil && j.Trusted(client) }

// Decision is what becomes of a message, and why. Whoever gets a pointer to one
// may keep it, with all that it points to, and must not change it: others have
// the same.
type Decision struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	// One of these three says what the verdict is made of: why the message is
	// exempt, the limit that it is over, or the facts.
	Skipped    policy.Reason
	Oversize   string
	Evaluation *msgauth.Evaluation

	Verdict policy.Verdict
	Shadow  *Comparison // nil where there is no candidate, or nothing to compare
	// Edits are what is done to the message, in the order in which it is done.
	Edits []label.Edit
}

// Comparison is what the policy in effect and a candidate make of the same facts,
// before anybody's consent is asked for, which is not the policy's doing.
type Comparison struct {
	Live      policy.Verdict `json:"live"`
	Candidate policy.Verdict `json:"candidate"`
}

// Connection is what is known of a client, for all its messages.
type Connection struct {
	judge    *Judge
	trusted  bool // the client's network is
	verifier *msgauth.Connection
	identity *label.Identity // nil: that of an MTA that tells no name
	writer   label.Writer
}

// Connect begins what depends on the client alone.
func (j *Judge) Connect(ctx context.Context, client msgauth.Session) Connection {
	return j.connect(ctx, j.Verifier, client, false)
}

// connect: without a verifier nothing is asked, and no message is evaluated.
func (j *Judge) connect(ctx context.Context, verifier *msgauth.Verifier, client msgauth.Session, internal bool) Connection {
	c := Connection{judge: j, trusted: internal || client.Client.IsValid() && j.Trusts(client.Client)}
	if !c.trusted && verifier != nil {
		c.verifier = verifier.Connect(ctx, msgauth.Session{Client: client.Client, ClientName: client.ClientName})
	}
	return c
}

// Helo begins what depends on the HELO name.
func (c *Connection) Helo(name string) {
	if c.verifier != nil {
		c.verifier.Helo(name)
	}
}

// Identify says who this host is towards the MTA of the connection.
func (c *Connection) Identify(i *label.Identity) { c.identity = i }

func (c *Connection) self() *label.Identity {
	if c.identity == nil {
		c.identity = c.judge.Label.Identity("")
	}
	return c.identity
}

// Close ends what runs in the background for the connection.
func (c *Connection) Close() {
	if c.verifier != nil {
		c.verifier.Close()
		c.verifier = nil
	}
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

// Stored is a stored message under way. Finish or Close must be called.
type Stored struct {
	Case
	connection Connection
}

// Open begins a stored message, as far as the end of its header.
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

// Close ends whatever still runs.
func (s *Stored) Close() {
	s.Case.Close()
	s.connection.Close()
}

// Finish is the Case's, and closes the message.
func (s *Stored) Finish(ctx context.Context) Decision {
	defer s.Close()
	return s.Case.Finish(ctx)
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

// Again returns the verdict that j has on the facts of another judge's decision.
func (j *Judge) Again(d *Decision) policy.Verdict {
	switch {
	case d.Skipped != "":
		return policy.Skipped(d.Skipped)
	case d.Oversize != "":
		return policy.Oversized(d.Oversize, j.Policy)
	}
	return policy.Decide(d.Evaluation, j.Policy).Respect(d.Verdict.Consent)
}
