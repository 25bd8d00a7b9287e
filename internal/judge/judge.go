// Package judge makes the decision on each message: whether the message is evaluated at
// all, which verdict the policy gives for the results of the checks, whether a recipient
// opted out, and which edits are made. The daemon calls it with the events of a milter
// session. The commands explain and replay call it with a stored message.
package judge

import (
	"context"
	"net/netip"
	"time"

	"sekimori/internal/label"
	"sekimori/internal/ledger"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/report/failure"
	"sekimori/internal/trait"
)

// Judge holds the settings of one generation, that is, of one load of the configuration.
// Verifier and Label are required.
type Judge struct {
	Verifier *msgauth.Verifier
	Policy   policy.Config
	// Shadow is a candidate policy whose verdict is compared with the verdict of Policy. It
	// is nil if there is no candidate.
	Shadow *policy.Config
	// Trusted reports whether a client is in a trusted network. Mail from such a client is
	// not evaluated. If Trusted is nil, no client is trusted.
	Trusted func(client netip.Addr) bool
	// TrustAuthenticated says that mail from a client that logged in is not evaluated.
	TrustAuthenticated bool
	// Relays are the hosts whose topmost Received field names the client. A client that is
	// both trusted and a relay is trusted.
	Relays []Relay
	// Label says how messages are labelled. Label.AuthServID or Label.HostName must be set.
	Label label.Settings
	// Recipients looks up which recipients agreed that the MTA acts on verdicts. If
	// Recipients is nil, nothing is looked up, and verdicts apply to all recipients.
	// ConsentWait is how long the end of a message waits for lookups that still run. Split
	// says that one message takes only recipients of the same class; the client must send
	// the message again to the recipients of the other class.
	Recipients  Recipients
	ConsentWait time.Duration
	Split       bool
	// Marks finds out whether a message is about reports, or marked as spam. Whole says that
	// results for which the reply does not wait are waited for afterwards (see Decision.Whole).
	// Both are for DMARC reports. Without them, Marks is nil and Whole false.
	Marks *report.Marks
	Whole bool
	// Failures says what a failure report may tell of a message. It is nil if none are sent.
	Failures *failure.Options
	// Learn finds the learned signs of a message that fails. It must not wait. It is nil if none are looked
	// for.
	Learn func(*msgauth.Evaluation) []trait.Trait
	// MaxFields and MaxHeaderBytes limit the header of a stored message. For a message that
	// comes by milter, package milter has already checked these limits.
	MaxFields, MaxHeaderBytes int
}

// Trusts reports whether the client is in a trusted network.
func (j *Judge) Trusts(client netip.Addr) bool { return j.Trusted != nil && j.Trusted(client) }

// Decision says what is done with a message, and why. Several observers get a pointer to
// the same Decision. They may keep the pointer, but must not change the Decision or
// anything to which it points.
type Decision struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	// Exactly one of Skipped, Oversize and Evaluation is set, and the verdict follows from
	// it. Skipped is the reason why the message was not evaluated, Oversize is the limit
	// that it crossed, and Evaluation has the results of the checks.
	Skipped    policy.Reason
	Oversize   string
	Evaluation *msgauth.Evaluation

	Verdict policy.Verdict
	Shadow  *Comparison // nil if Judge.Shadow or Evaluation is nil
	// Learned says how the learned signs change the verdict, or would if policy.learned were "use".
	Learned ledger.Change
	// Edits are the changes to the message, in the order in which they are made.
	Edits []label.Edit

	// AboutReports and Spam are what Judge.Marks found. They are false if it is nil.
	AboutReports, Spam bool
	// Whole has an Evaluation with the results that are missing in the field Evaluation, because
	// the reply did not wait for them. It is nil if nothing is missing that a DMARC report
	// shows, or if Judge.Whole is false.
	Whole *msgauth.Whole
	// Incident is what a failure report says about the message. It is nil if there may be none.
	Incident *failure.Incident
}

// Comparison has the verdict of the policy in effect and the verdict of a candidate policy,
// both for the same Evaluation. Neither verdict considers whether the recipients consented.
type Comparison struct {
	Live      policy.Verdict `json:"live"`
	Candidate policy.Verdict `json:"candidate"`
}

// Connection is one client, with the checks that all its messages share.
type Connection struct {
	judge    *Judge
	trusted  bool // the client is in a trusted network, or the message is internal
	verifier *msgauth.Connection
	relayed  *relayed        // nil if the client is not a relay
	identity *label.Identity // nil until Identify or self is called
	writer   label.Writer
}

// Connect starts the checks that depend only on the client's address and name. If the client
// is a relay, no check starts, because the messages come from other clients.
func (j *Judge) Connect(ctx context.Context, client msgauth.Session) Connection {
	return j.connect(ctx, j.Verifier, client, false)
}

// connect is Connect with a given verifier. If verifier is nil, no DNS query is made and no
// message is evaluated. If internal is true, the connection is treated as trusted.
func (j *Judge) connect(ctx context.Context, verifier *msgauth.Verifier, client msgauth.Session, internal bool) Connection {
	c := Connection{judge: j, trusted: internal || client.Client.IsValid() && j.Trusts(client.Client)}
	if c.trusted {
		return c
	}
	if relay := j.relay(client.Client); relay != nil {
		c.relayed = &relayed{relay, ctx, verifier}
	} else if verifier != nil {
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

// Identify sets the names of this host that are used to label the messages of the
// connection.
func (c *Connection) Identify(i *label.Identity) { c.identity = i }

func (c *Connection) self() *label.Identity {
	if c.identity == nil {
		c.identity = c.judge.Label.Identity("")
	}
	return c.identity
}

// Close stops the lookups that still run for the connection.
func (c *Connection) Close() {
	if c.verifier != nil {
		c.verifier.Close()
	}
}

// Message is a stored message without its body.
type Message struct {
	Session  msgauth.Session
	Envelope msgauth.Envelope
	Header   message.Header
	// Whole is false if the header was too large, and Header holds only its beginning.
	Whole bool
	// Time is when the message was received. Signatures and dates are judged as of that
	// time. If Time is zero, the current time is used.
	Time time.Time
	// Internal says that the message did not come from outside: the host did not receive it
	// from another host.
	Internal bool
}

// Stored is a stored message that has no decision yet. The caller must call Finish or
// Close.
type Stored struct {
	Case
	connection Connection
}

// Open starts the evaluation of a stored message, up to the end of its header.
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
	s.Case = s.connection.Begin(m.Session, m.Envelope)
	for _, r := range m.Envelope.Recipients {
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

// Close stops the lookups that still run for the message.
func (s *Stored) Close() {
	s.Case.Close()
	s.connection.Close()
}

// Finish decides on the message as Case.Finish does, and closes the message.
func (s *Stored) Finish(ctx context.Context) Decision {
	defer s.Close()
	return s.Case.Finish(ctx)
}

// oversized returns the limit at which package milter would have stopped reading the
// message, or "" if the message is within all limits.
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

// Again returns the verdict of j's own policy on a message that another judge has decided
// on.
func (j *Judge) Again(d *Decision) policy.Verdict {
	switch {
	case d.Skipped != "":
		return policy.Skipped(d.Skipped)
	case d.Oversize != "":
		return policy.Oversized(d.Oversize, j.Policy)
	}
	return policy.Decide(d.Evaluation, j.Policy).Respect(d.Verdict.Consent)
}
