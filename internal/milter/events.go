package milter

import (
	"errors"

	"sekimori/internal/milter/dialogue"
	"sekimori/internal/milter/wire"
	"sekimori/internal/smtp"
)

// ErrPeerGone is the cause with which EndOfMessage's context ends when the MTA has closed the
// connection.
var ErrPeerGone = errors.New("milter: the MTA closed the connection")

// ErrDraining is the cause with which EndOfMessage's context ends when the context of Shutdown
// has ended.
var ErrDraining = errors.New("milter: shutting down")

// event handles the event in l.cmd. A panic of the Session does not reach this function, because
// the method that called the Session has handled it. Any other panic comes from this package, and
// event then ends the connection.
func (l *link) event() {
	if l.protect("milter.event", l.handle) {
		l.stop(EndPanic) // the panic came from this package, so the state of the link may be wrong
	}
}

func (l *link) handle() {
	if l.refuse != "" {
		l.closing = true
		l.t.Reply(string(Tempfail))
		return
	}
	reply, err := l.dispatch()
	if err != nil {
		l.logProtocolError(err)
		l.stop(EndProtocolError)
		return
	}
	l.answer(reply)
}

// dispatch hands the event in l.cmd to the Session, unless an earlier event has decided the
// reply. It returns the reply to the event.
func (l *link) dispatch() (Reply, error) {
	switch l.cmd {
	case wire.CmdConnect:
		return l.connect()
	case wire.CmdHelo:
		name, err := wire.ParseHelo(l.data)
		l.held.helo = ""
		return l.call("milter.helo", err, func() Reply { return l.session.Helo(name) })
	case wire.CmdMail, wire.CmdRcpt:
		return l.envelope()
	case wire.CmdData:
		return l.call("milter.data", nil, func() Reply { return l.session.Data() })
	case wire.CmdHeader:
		return l.header()
	case wire.CmdEndOfHeader:
		return l.call("milter.end_of_header", nil, func() Reply { return l.session.EndOfHeader() })
	case wire.CmdBody:
		return l.body()
	case wire.CmdEndOfBody:
		return l.endOfBody()
	}
	return Continue, nil // an SMTP command that the MTA does not know
}

// call runs the callback f of the Session and returns its reply. It does not run f if the frame
// was malformed (err is not nil), if the message has its reply already, or if an Outliner
// handles the message.
func (l *link) call(component string, err error, f func() Reply) (Reply, error) {
	if err != nil {
		return "", err
	}
	if l.held.reply() != "" || l.message.outliner != nil {
		return Continue, nil
	}
	reply := Continue
	if l.protect(component, func() { reply = f() }) {
		return l.afterPanic(), nil
	}
	return reply, nil
}

// afterPanic is called after a panic of the Session. It makes Settings.OnPanic the reply to the
// message, and calls Abort. After a panic in Connect the reply is valid for the whole session, and
// after a panic in Helo until the next HELO.
func (l *link) afterPanic() Reply {
	l.held.hold(l.cmd, l.srv.onPanic())
	l.abort()
	return l.srv.onPanic()
}

func (l *link) connect() (Reply, error) {
	host, family, addr, err := wire.ParseConnect(l.data)
	if err != nil {
		return "", err
	}
	l.startSession()
	growForSession(false)
	return l.call("milter.connect", nil, func() Reply {
		l.session = l.srv.opts.NewSession(l.conn)
		return l.session.Connect(Connect{Hostname: host, Family: Family(family), Addr: addr})
	})
}

func (l *link) envelope() (Reply, error) {
	kind := wire.KindMalformedMail
	if l.cmd == wire.CmdRcpt {
		kind = wire.KindMalformedRcpt
		l.message.recipients++
	}
	args, ok := wire.ParseStrings(l.data)
	if !ok || len(args) == 0 {
		return "", wire.Malformed{Kind: kind}
	}
	over := l.overEnvelope(len(l.data))
	if l.cmd == wire.CmdRcpt {
		if over != "" {
			return l.oversize(over), nil
		}
		return l.call("milter.rcpt", nil, func() Reply { return l.session.Rcpt(args[0], args[1:]) })
	}
	growForMessage(false)
	reply, err := l.call("milter.mail", nil, func() Reply {
		l.inMessage = true
		return l.session.Mail(args[0], args[1:])
	})
	if plain, _ := reply.check(); over != "" && plain == Continue {
		// oversize lets the Session choose the reply. The Session must know the sender for that,
		// so Mail was called first.
		return l.oversize(over), nil
	}
	return reply, err
}

// overEnvelope counts n octets of MAIL or RCPT arguments for the limits of the message. It
// returns the limit that the message now exceeds, or "".
func (l *link) overEnvelope(n int) string {
	if l.message.outliner != nil {
		return ""
	}
	l.message.envelope += n
	switch {
	case l.message.recipients > l.limits.MaxRecipients:
		return OversizeRecipients
	case l.message.envelope > l.limits.MaxEnvelopeBytes:
		return OversizeEnvelope
	case !l.grow(n):
		return OversizeMemory
	}
	return ""
}

// maxStart is how many octets HeaderStart gets of a name or a value at most.
const maxStart = 8 << 10

func (l *link) header() (Reply, error) {
	if l.t.Cut() {
		l.data[len(l.data)-1] = 0 // the value was cut; it must end with a NUL
	}
	if l.message.outliner != nil {
		return l.headerStart()
	}
	limits := l.limits
	name, value, err := wire.ParseHeader(l.data, l.conn.HasLeadingSpace())
	if err != nil {
		return "", err
	}
	l.message.fields++
	l.message.header += len(name) + len(value)
	over := ""
	switch {
	case l.t.Cut(), len(name)+len(value) > limits.MaxFieldBytes:
		over = OversizeFieldBytes
	case l.message.fields > limits.MaxHeaderFields:
		over = OversizeHeaderFields
	case l.message.header > limits.MaxHeaderBytes:
		over = OversizeHeaderBytes
	case !l.grow(len(name) + len(value)):
		over = OversizeMemory
	default:
		return l.call("milter.header", nil, func() Reply { return l.session.Header(name, value) })
	}
	reply := l.oversize(over)
	if l.message.outliner != nil {
		return l.headerStart()
	}
	return reply, nil
}

// headerStart hands the name and the beginning of the value of a field to the Outliner.
func (l *link) headerStart() (Reply, error) {
	name, start, err := wire.ParseHeaderStart(l.data, l.conn.HasLeadingSpace(), maxStart)
	if err != nil {
		return "", err
	}
	if l.held.reply() != "" {
		return Continue, nil // HeaderStart panicked for an earlier field
	}
	if l.protect("milter.header_start", func() { l.message.outliner.HeaderStart(name, start) }) {
		return l.afterPanic(), nil
	}
	return Continue, nil
}

func (l *link) body() (Reply, error) {
	if len(l.data) == 0 {
		return Continue, nil
	}
	return l.call("milter.body", nil, func() Reply { return l.session.Body(l.data) })
}

// oversize is called when a message exceeds a limit. It refuses the message, or goes on with it if
// the Session is an Outliner and wants that. Header and Rcpt are not called for the field or
// recipient that exceeded the limit, nor for any later one, so the Session never judges a header of
// which it has only a part. Only the first call for a message has an effect.
func (l *link) oversize(what string) Reply {
	if l.held.reply() != "" {
		return Continue
	}
	l.srv.opts.Observer.oversize(what)
	l.log().Warn("message over a limit", "what", what)
	def := Custom(smtp.New(smtp.CodeTooBig, smtp.EnhancedTooBig, "Message header exceeds what is accepted here"))
	switch what {
	case OversizeRecipients, OversizeEnvelope:
		def = Custom(smtp.New(smtp.CodeNoRoom, smtp.EnhancedRecipients, "Too many recipients"))
	case OversizeMemory:
		def = Custom(smtp.New(smtp.CodeNoRoom, smtp.EnhancedStorage, "Out of memory for now, try again later"))
	}
	reply := def
	if s, ok := l.session.(OversizeReplier); ok {
		if l.protect("milter.oversize", func() { reply = s.Oversize(what) }) {
			return l.afterPanic()
		}
	}
	if o, ok := l.session.(Outliner); ok && reply == Outline {
		l.message.outliner = o
		l.release()
		return Continue
	}
	if checked, _ := reply.check(); checked == Continue {
		reply = def
	}
	l.held.message = reply
	if what == OversizeMemory {
		l.letGo()
	}
	return reply
}

// answer sends the reply of the Session to the event in l.cmd. If the MTA does not wait for a
// reply to this event, answer holds the reply until the next event to which the MTA wants a
// reply.
func (l *link) answer(reply Reply) {
	r := l.checked(reply)
	if (l.cmd == wire.CmdConnect || l.cmd == wire.CmdHelo) && (r == Accept || r == Discard) {
		r = Continue
	}
	switch held := l.held.reply(); {
	case l.cmd == wire.CmdEndOfBody:
	case l.conn.terms.Silent(l.cmd):
		if r != Continue {
			l.held.hold(l.cmd, r)
		}
		return
	case held != "":
		r = l.checked(held)
	}
	l.t.Reply(string(r))
	switch {
	case l.cmd == wire.CmdEndOfBody:
		l.phase = dialogue.PhaseAnswered
	case r == Continue, l.cmd == wire.CmdUnknown:
	case l.cmd == wire.CmdConnect, l.cmd == wire.CmdHelo:
		// A client may go on after its CONNECT or HELO was refused. The same reply is then given to
		// its later commands: after CONNECT for the whole session, after HELO until the next HELO.
		l.held.hold(l.cmd, r)
	case l.cmd == wire.CmdRcpt && r != Accept && r != Discard:
		// Only this recipient is refused, and the message goes on.
	default:
		l.phase = dialogue.PhaseAnswered
	}
}

// checked returns r if it is a valid reply. Otherwise it returns the reply that is sent instead,
// and logs what was wrong with r.
func (l *link) checked(r Reply) Reply {
	plain, err := r.check()
	if err != nil {
		l.log().Error("invalid reply replaced", "reply", plain.String(), "err", err)
	}
	return plain
}

// endOfBody calls EndOfMessage, writes the edits of the message, and returns its reply.
func (l *link) endOfBody() (Reply, error) {
	// An MTA may send the last part of the body in the end-of-body frame.
	reply, err := l.body()
	if plain, _ := reply.check(); err != nil || plain != Continue {
		return reply, err
	}
	if held := l.held.reply(); held != "" {
		return held, nil
	}
	m := &Modifier{conn: l.conn}
	reply, panicked := l.endOfMessage(m)
	if s, ok := l.session.(Salvager); ok && panicked {
		m = &Modifier{conn: l.conn}
		panicked = l.protect("milter.salvage", func() { reply = s.Salvage(m) })
	}
	if panicked {
		return l.afterPanic(), nil
	}
	if checked, _ := reply.check(); checked.delivers() {
		if err := m.write(l.t); err != nil {
			l.stop(l.endOf(err)) // the MTA has gone or does not read
		}
	}
	return reply, nil
}
