package filter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/smtp"
	"sekimori/internal/topology"
)

// session is one connection of the MTA, which is one SMTP session of a client. The client's
// address, name and HELO are kept for the whole session. The field current holds everything
// about one message, and Abort drops it.
type session struct {
	filter  *Filter
	edition *edition
	o       *Options // the options of edition
	conn    *milter.Conn
	client  msgauth.Session
	judged  judge.Connection
	self    *label.Identity // names of this host for this MTA; nil until identify is called
	probe   bool            // the peer is a probe and not an MTA (see ProbeMacro)

	current *transaction // the message; nil between two messages
}

// transaction is one message.
type transaction struct {
	judge.Case
	rcpts int    // number of accepted recipients
	data  bool   // the DATA command has arrived
	ended bool   // the end of the message has arrived, or a limit was crossed
	date  string // the first field Date
}

// Connect implements milter.Session.
func (s *session) Connect(c milter.Connect) milter.Reply {
	s.probe = s.conn.Macro(ProbeMacro) != ""
	s.watch().Negotiated(s.conn.LocalAddr(), s.conn.RemoteAddr(), lacks(s.conn))
	s.client = msgauth.Session{Client: c.Addr.Addr(), ClientName: c.Hostname, NoLeadingSpace: !s.conn.HasLeadingSpace()}
	s.begin()
	if !s.judged.Relayed() { // a relay hides the clients, but the operator knows that
		s.watch().Connected(c.Addr.Addr())
	}
	return milter.Continue
}

// watch returns the Watch that is told what the filter cannot see. It returns nil for a probe,
// because the addresses, names and abilities that a probe claims say nothing about the MTA.
func (s *session) watch() *topology.Watch {
	if s.probe {
		return nil
	}
	return s.o.Topology
}

// lacks lists the abilities that the MTA does not offer on the connection c.
func lacks(c *milter.Conn) (list []topology.Lack) {
	for _, one := range [...]struct {
		offered bool
		lack    topology.Lack
	}{
		{c.HasAction(milter.ActionAddHeader), topology.LackAdd},
		{c.HasAction(milter.ActionChangeHeader), topology.LackChange},
		{c.HasAction(milter.ActionQuarantine), topology.LackQuarantine},
		{c.HasLeadingSpace(), topology.LackLeadingSpace},
		{c.HasAction(milter.ActionAskMacros), topology.LackMacros},
	} {
		if !one.offered {
			list = append(list, one.lack)
		}
	}
	return list
}

func (s *session) use(e *edition) { s.edition, s.o, s.self = e, &e.Options, nil }

// identify chooses the name of this host that is written into labels for this MTA. Most
// MTAs send their own name (the macro j) at CONNECT, and some send it at a later step.
func (s *session) identify() {
	if s.self == nil || s.self.MTA == "" {
		mta := s.conn.Macro("j")
		s.self = s.edition.identity(mta)
		s.watch().Named(s.o.Judge.Label.AuthServID, mta)
	}
	s.judged.Identify(s.self)
}

// begin starts the checks that depend only on the client's address and name. For a trusted
// client there are no such checks. Nevertheless, the session does not send the milter reply
// "accept" at this point. After such a reply the MTA would not show us any later message of
// the connection, even if a reload has made the client untrusted.
func (s *session) begin() { s.judged = s.o.Judge.Connect(context.Background(), s.client) }

// renew takes over the current options if Swap has replaced the session's options.
func (s *session) renew() {
	if s.filter.current.Load() == s.edition {
		return
	}
	old := s.edition
	s.judged.Close()
	s.use(s.filter.acquire())
	s.filter.release(old)
	s.begin()
	if s.client.HELO != "" {
		s.judged.Helo(s.client.HELO)
	}
}

// Helo implements milter.Session.
func (s *session) Helo(name string) milter.Reply {
	s.client.HELO = name
	s.judged.Helo(name)
	return milter.Continue
}

// Mail implements milter.Session.
func (s *session) Mail(from string, args []string) milter.Reply {
	s.renew()
	client := s.client
	client.TLSVersion = s.conn.Macro("{tls_version}")
	client.Authenticated = s.conn.Macro("{auth_authen}")
	envelope := msgauth.Envelope{MailFrom: from, SMTPUTF8: hasSMTPUTF8(args), QueueID: s.conn.Macro("i")}
	s.current = &transaction{Case: s.judged.Begin(client, envelope)}
	return milter.Continue
}

// hasSMTPUTF8 reports whether the parameters of MAIL contain SMTPUTF8 (RFC 6531 §3.4).
func hasSMTPUTF8(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return strings.EqualFold(arg, "SMTPUTF8") })
}

// Rcpt implements milter.Session.
func (s *session) Rcpt(to string, _ []string) milter.Reply {
	t := s.current
	if t == nil {
		return milter.Continue
	}
	// The MTA decides at the start of a connection whether it waits for replies to RCPT. If
	// a reload switched splitting on after that, the MTA does not wait on this connection.
	split, rewritten := s.o.Judge.Splits() && s.conn.RepliesToRcpt(), ""
	if t.AsksRecipients() {
		rewritten = s.conn.Macro("{rcpt_addr}")
	}
	if !t.Recipient(to, rewritten, split) {
		const text = "Recipient wants other filtering than those before, send this one apart"
		return milter.Custom(smtp.New(smtp.CodeNoRoom, smtp.EnhancedRecipients, text))
	}
	t.rcpts++
	return milter.Continue
}

// Data implements milter.Session.
func (s *session) Data() milter.Reply {
	if t := s.current; t != nil {
		t.data = true
	}
	return milter.Continue
}

// Header implements milter.Session.
func (s *session) Header(name, value string) milter.Reply {
	if t := s.current; t != nil {
		t.Header(name, value)
		if t.date == "" && strings.EqualFold(name, "Date") {
			t.date = value
		}
	}
	return milter.Continue
}

// EndOfHeader implements milter.Session.
func (s *session) EndOfHeader() milter.Reply {
	if t := s.current; t != nil {
		t.EndOfHeader()
	}
	return milter.Continue
}

// Body implements milter.Session.
func (s *session) Body(chunk []byte) milter.Reply {
	if t := s.current; t != nil {
		t.Write(chunk)
	}
	return milter.Continue
}

// maxDateLen is the length of the longest Date that is read, in octets. A usual one has 31, and a
// comment with the name of the zone may follow.
const maxDateLen = 64

// parseDate reads the value of a Date field in the forms that almost all programs write. It does
// not know the other forms of RFC 5322, because net/mail, which does, makes some 70 allocations,
// and every message has a Date.
func parseDate(value string) (date time.Time, ok bool) {
	if len(value) > maxDateLen {
		return time.Time{}, false
	}
	value, _, _ = strings.Cut(value, "(")
	value = strings.TrimSpace(value)
	layout := "Mon, 2 Jan 2006 15:04:05 -0700"
	if strings.HasSuffix(value, "GMT") {
		layout = "Mon, 2 Jan 2006 15:04:05 GMT"
	}
	date, err := time.Parse(layout, value)
	return date, err == nil
}

// EndOfMessage implements milter.Session. It waits for the results of the checks, decides
// on the message, and sends the edits to the MTA.
func (s *session) EndOfMessage(ctx context.Context, m *milter.Modifier) milter.Reply {
	t := s.current
	if t == nil {
		return milter.Continue
	}
	begin := time.Now()
	t.ended = true
	s.nameMessage(t)
	s.identify()
	if date, ok := parseDate(t.date); ok {
		s.watch().Dated(date, begin)
	}
	d := t.Finish(ctx)
	monitor := s.o.Judge.Policy.Mode == policy.Monitor
	switch cause := context.Cause(ctx); {
	case d.Evaluation == nil:
	case errors.Is(cause, milter.ErrPeerGone):
		// The MTA has closed the connection. It does not get this reply, and does not
		// deliver the message.
		return milter.Tempfail
	case cause != nil && !monitor:
		// The daemon stops before the results are known. The sender must try again, because
		// otherwise a message could pass unchecked during a restart.
		return milter.Custom(smtp.New(smtp.CodeLocalError, smtp.EnhancedUnavailable, "Service is restarting, try again later"))
	}
	if d.Skipped != "" {
		// If an edit fails, policy.Unlabelled and policy.Forged refuse the message only if
		// Enforced is true.
		d.Verdict.Enforced = !monitor
	}
	s.edit(&d, m)
	d.Verdict.Enforced = d.Verdict.Enforced || d.Verdict.Action == policy.Skip
	s.tell(&d, time.Since(begin))
	return reply(&d.Verdict)
}

// tell passes the decision to the observers. took is the time since the end of the message
// arrived, or 0 (see Observer).
func (s *session) tell(d *judge.Decision, took time.Duration) {
	s.watch().Message(d.Session.Client, d.Skipped == policy.ReasonTrusted, d.Skipped == "")
	observers := s.o.Observers
	if s.probe {
		observers = s.o.ProbeObservers
	}
	for _, o := range observers {
		o.Decided(d, took)
	}
}

// nameMessage stores the queue id of the message again. Postfix does not know the queue id before
// the first recipient.
func (s *session) nameMessage(t *transaction) {
	t.Envelope.QueueID = s.conn.Macro("i")
}

// reply returns the milter reply for the verdict.
func reply(v *policy.Verdict) milter.Reply {
	switch v.Applied {
	case policy.Reject, policy.TempFail:
		return milter.Custom(v.Reply)
	default:
		return milter.Continue
	}
}

// Abort implements milter.Session.
func (s *session) Abort() {
	if t := s.current; t != nil {
		t.Close()
		if t.rcpts > 0 && !t.ended {
			s.watch().Empty(t.data)
		}
	}
	s.current = nil
}

// Close implements milter.Session. The message, if there was one, has been aborted before.
func (s *session) Close(milter.End) {
	s.judged.Close()
	s.filter.release(s.edition)
}
