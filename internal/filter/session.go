package filter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sekimori/internal/blind"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/smtp"
)

// session is one MTA connection. Client, HELO and TLS facts live as long as
// it; everything of a message is in current and dies with Abort.
type session struct {
	filter  *Filter
	edition *edition
	o       *Options // of the edition
	conn    *milter.Conn
	client  msgauth.Session
	trusted bool // the client's network is
	verify  *msgauth.Connection
	self    *label.Identity // nil until it is asked for

	current *transaction
	writer  label.Writer
}

// transaction is one message.
type transaction struct {
	session  msgauth.Session
	envelope msgauth.Envelope
	skip     policy.Reason // why it is not evaluated, "" if it is
	check    *msgauth.Verification
	header   message.Header
	over     string         // the limit that it crossed, "" if none
	outline  *label.Outline // of its header, once it is over a limit and goes on
	rcpts    int            // accepted
	data     bool           // DATA has come
	shown    bool           // its end has come, or a limit
	consents *consents      // nil: nobody is asked
	class    policy.Class   // of all recipients, where classes are split
}

// Connect implements milter.Session.
func (s *session) Connect(c milter.Connect) milter.Reply {
	s.o.Blind.Connected(c.Addr.Addr())
	s.o.Blind.Negotiated(s.conn.LocalAddr(), s.conn.RemoteAddr(), lacks(s.conn))
	s.client = msgauth.Session{Client: c.Addr.Addr(), ClientName: c.Hostname, NoLeadingSpace: !s.conn.HasLeadingSpace()}
	s.meet()
	return milter.Continue
}

// lacks is what the MTA of a connection does not offer.
func lacks(c *milter.Conn) (list []blind.Lack) {
	for _, one := range [...]struct {
		offered bool
		lack    blind.Lack
	}{
		{c.HasAction(milter.ActionAddHeader), blind.LackAdd},
		{c.HasAction(milter.ActionChangeHeader), blind.LackChange},
		{c.HasAction(milter.ActionQuarantine), blind.LackQuarantine},
		{c.HasLeadingSpace(), blind.LackLeadingSpace},
		{c.HasAction(milter.ActionAskMacros), blind.LackMacros},
	} {
		if !one.offered {
			list = append(list, one.lack)
		}
	}
	return list
}

func (s *session) use(e *edition) { s.edition, s.o, s.self = e, &e.Options, nil }

// identity is who we are towards this MTA. Its name comes with CONNECT, of some
// MTAs with a later step.
func (s *session) identity() *label.Identity {
	if s.self == nil || s.self.MTA == "" {
		s.self = s.edition.identity(s.conn.Macro("j"))
	}
	return s.self
}

// meet begins what depends on the client alone, by the present options.
func (s *session) meet() {
	s.trusted = s.client.Client.IsValid() && s.o.TrustedNetwork != nil && s.o.TrustedNetwork(s.client.Client)
	// A milter "accept" here would hide every later message of the connection
	// from us, also one of a client that has not logged in: go on instead.
	if !s.trusted {
		s.verify = s.o.Verifier.Connect(context.Background(), msgauth.Session{Client: s.client.Client, ClientName: s.client.ClientName})
	}
}

// renew takes up options that came into effect since the session's last
// message.
func (s *session) renew() {
	if s.filter.current.Load() == s.edition {
		return
	}
	old := s.edition
	s.leave()
	s.use(s.filter.acquire())
	s.filter.release(old)
	s.meet()
	if s.verify != nil && s.client.HELO != "" {
		s.verify.Helo(s.client.HELO)
	}
}

func (s *session) leave() {
	if s.verify != nil {
		s.verify.Close()
		s.verify = nil
	}
}

// Helo implements milter.Session.
func (s *session) Helo(name string) milter.Reply {
	s.client.HELO = name
	if s.verify != nil {
		s.verify.Helo(name)
	}
	return milter.Continue
}

// Mail implements milter.Session.
func (s *session) Mail(from string, args []string) milter.Reply {
	s.renew()
	t := &transaction{session: s.client, envelope: msgauth.Envelope{MailFrom: from, SMTPUTF8: hasSMTPUTF8(args), QueueID: s.conn.Macro("i")}}
	s.current = t
	t.session.TLSVersion = s.conn.Macro("{tls_version}")
	t.session.Authenticated = s.conn.Macro("{auth_authen}")
	switch {
	case s.trusted:
		t.skip = policy.ReasonTrusted
	case t.session.Authenticated != "" && s.o.TrustAuthenticated:
		t.skip = policy.ReasonAuthenticated
	default:
		t.check = s.verify.Begin(t.session, t.envelope)
		if s.o.Recipients != nil {
			t.consents = newConsents(s.o.Recipients)
		}
	}
	return milter.Continue
}

// hasSMTPUTF8 looks for the parameter of MAIL that declares internationalized
// mail (RFC 6531 §3.4).
func hasSMTPUTF8(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return strings.EqualFold(arg, "SMTPUTF8") })
}

// Rcpt implements milter.Session.
func (s *session) Rcpt(to string, _ []string) milter.Reply {
	t := s.current
	if t == nil {
		return milter.Continue
	}
	reply := s.recipient(t, to)
	if reply == milter.Continue {
		t.rcpts++
		t.envelope.Recipients = append(t.envelope.Recipients, to)
	}
	return reply
}

// Data implements milter.Session.
func (s *session) Data() milter.Reply {
	if t := s.current; t != nil {
		t.data = true
	}
	return milter.Continue
}

// usualFields is how many header fields most messages have at most.
const usualFields = 24

// Header implements milter.Session.
func (s *session) Header(name, value string) milter.Reply {
	if t := s.current; t != nil {
		if t.header == nil {
			t.header = make(message.Header, 0, usualFields)
		}
		t.header = append(t.header, message.Field{Name: name, Value: value})
	}
	return milter.Continue
}

// EndOfHeader implements milter.Session.
func (s *session) EndOfHeader() milter.Reply {
	if t := s.current; t != nil && t.check != nil {
		t.check.EndOfHeader(t.header)
	}
	return milter.Continue
}

// Body implements milter.Session.
func (s *session) Body(chunk []byte) milter.Reply {
	if t := s.current; t != nil && t.check != nil {
		_, _ = t.check.Write(chunk) // hashing does not fail
	}
	return milter.Continue
}

func (s *session) notEvaluated(t *transaction, v policy.Verdict) {
	s.o.Blind.Message(t.session.Client, t.skip == policy.ReasonTrusted, t.skip == "")
	for _, o := range s.o.Observers {
		o.NotEvaluated(t.session, t.envelope, v)
	}
}

// passOn lets a trusted network's message pass untouched.
func (s *session) passOn(t *transaction) milter.Reply {
	s.notEvaluated(t, policy.Skipped(t.skip))
	return milter.Accept
}

// EndOfMessage implements milter.Session: join, decide, act.
func (s *session) EndOfMessage(ctx context.Context, m *milter.Modifier) milter.Reply {
	t := s.current
	if t == nil {
		return milter.Continue
	}
	begin := time.Now()
	t.shown = true
	s.nameMessage(t)
	switch {
	case t.outline != nil:
		return s.endOutlined(t, m)
	case t.check == nil:
		return s.skip(t, m)
	}
	e := t.check.Finish(ctx, t.envelope)
	var agreed policy.Consent
	if t.consents != nil {
		agreed = t.consents.wait(ctx, s.o.ConsentWait)
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, milter.ErrPeerGone):
		// Nobody will see an answer, and nothing became of the message.
		return milter.Tempfail
	case cause != nil && s.o.Policy.Mode != policy.Monitor:
		// The daemon ends and did not find out enough: the message must come
		// again, or a restart would be the moment for a forger.
		return milter.Custom(smtp.CodeLocalError, smtp.EnhancedUnavailable, "Service is restarting, try again later")
	}
	v := policy.Decide(e, s.o.Policy)
	s.o.compare(e, v) // before consent, which is not the policy's doing
	v = v.Respect(agreed)
	v = s.edit(s.writer.Edits(&s.o.Label, s.identity(), t.header, e, &v), v, m)
	took := time.Since(begin)
	s.o.Blind.Message(t.session.Client, false, true)
	for _, o := range s.o.Observers {
		o.Evaluated(e, v, took)
	}
	return reply(v)
}

// nameMessage takes the queue id, which Postfix knows only after the first
// recipient.
func (s *session) nameMessage(t *transaction) {
	if id := s.conn.Macro("i"); id != "" {
		t.envelope.QueueID = id
	}
}

// skip lets a trusted message pass. A user who logged in has no business
// adding results in our name; a trusted network may hold a gateway of ours
// that does, so its fields stay.
func (s *session) skip(t *transaction, m *milter.Modifier) milter.Reply {
	v := policy.Skipped(t.skip)
	if t.skip == policy.ReasonAuthenticated {
		v.Enforced = s.o.Policy.Mode != policy.Monitor
		v = s.edit(s.writer.Clean(s.identity(), t.header), v, m)
		v.Enforced = v.Enforced || v.Action == policy.Skip
	}
	s.notEvaluated(t, v)
	return reply(v)
}

// reply is the milter's word for the verdict.
func reply(v policy.Verdict) milter.Reply {
	switch v.Applied {
	case policy.Reject, policy.TempFail:
		return milter.Custom(v.Reply.Code, v.Reply.Enhanced, v.Reply.Text)
	default:
		return milter.Continue
	}
}

// Abort implements milter.Session.
func (s *session) Abort() {
	if t := s.current; t != nil {
		t.close()
		if t.rcpts > 0 && !t.shown {
			s.o.Blind.Empty(t.data)
		}
	}
	s.current = nil
}

// close ends what runs in the background for the message.
func (t *transaction) close() {
	if t.check != nil {
		t.check.Close()
	}
	if t.consents != nil {
		t.consents.cancel()
	}
}

// Close implements milter.Session.
func (s *session) Close(milter.End) {
	s.Abort()
	s.leave()
	s.filter.release(s.edition)
}
