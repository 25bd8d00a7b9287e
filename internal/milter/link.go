package milter

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"
)

// link is one MTA connection, from its first frame to its end. It sits on both
// sides of go-milter: as the net.Conn it reads tokens from and writes edits to,
// and as the backend it calls (conn.go). All of it runs on go-milter's
// goroutine of the connection: its read handles events until the next one that
// is for go-milter.
type link struct {
	srv    *Server
	t      *transport
	conn   *Conn
	refuse RejectReason // not "": every session is answered tempfail

	session Session // nil before CONNECT
	counted bool    // SessionStarted was called
	phase   phase
	cmd     byte   // the event that is handled
	data    []byte // its payload

	told    bool // Mail was called: Abort is due
	held    heldReplies
	message usage

	attendant *attendant // nil before the first end of a message

	closing bool // end after what is written has been sent
	ended   bool
	end     End
}

// heldReplies are replies that no step could give yet, by what they are about.
type heldReplies struct{ connect, helo, message Reply }

// reply returns the reply that stands, or "".
func (h heldReplies) reply() Reply {
	switch {
	case h.connect != "":
		return h.connect
	case h.helo != "":
		return h.helo
	}
	return h.message
}

// hold keeps r for what cmd is about, unless one is held already.
func (h *heldReplies) hold(cmd byte, r Reply) {
	slot := &h.message
	switch cmd {
	case cmdConnect:
		slot = &h.connect
	case cmdHelo:
		slot = &h.helo
	}
	if *slot == "" {
		*slot = r
	}
}

// usage is what a message has had of its limits.
type usage struct {
	recipients, envelope, fields, header int
	memory                               int64 // reserved for it
}

func newLink(srv *Server, nc net.Conn, limits *Limits, refuse RejectReason) *link {
	return &link{
		srv:    srv,
		t:      newTransport(nc, limits, &srv.buffers),
		conn:   newConn(nc, limits),
		refuse: refuse,
	}
}

// startSession counts one: at accept, and at the first CONNECT after QUIT_NC.
func (l *link) startSession() {
	if !l.counted {
		l.counted = true
		l.srv.opts.Observer.sessionStarted()
	}
}

func newConn(nc net.Conn, limits *Limits) *Conn {
	return &Conn{remote: nc.RemoteAddr(), macros: macros{limit: limits.MaxMacroBytes}}
}

// begin negotiates, or ends the connection and reports false. What the MTA
// offers must be known before go-milter answers it: an MTA drops a milter that
// asks for more.
func (l *link) begin() (ok bool) {
	defer l.rescue("milter.negotiate")
	cmd, data, err := l.t.readFrame(l.idle(), true)
	var o offer
	switch {
	case err != nil:
	case !known(cmd):
		err = malformed{KindUnknownCommand}
	case cmd != cmdNegotiate:
		err = malformed{KindOutOfSequence}
	default:
		o, err = parseOffer(data)
	}
	if err != nil {
		l.fail(err)
		return false
	}
	at := l.srv.settings.Load().replyAt
	if l.refuse != "" {
		at = ReplyAt{Connect: true}
	}
	l.conn.neg = negotiate(o, at)
	l.cmd = cmdNegotiate
	return true
}

// idle is how long the MTA may now be silent.
func (l *link) idle() time.Duration {
	limits := l.t.limits
	switch {
	case l.refuse != "":
		return limits.FrameTimeout
	case l.phase == phaseData, l.phase == phaseRcpt && l.conn.neg.version < 4:
		// DATA is shown since version 4.
		return limits.TransferTimeout
	}
	return limits.IdleTimeout
}

// next handles events until one is for go-milter, and sends what is written
// before it waits. It returns that event's command, or 0 at the end of the
// connection.
func (l *link) next() byte {
	defer l.rescue("milter.read")
	for l.settle() {
		cmd, data, err := l.t.readFrame(l.idle(), !l.phase.inMessage())
		if err == nil {
			err = l.admit(cmd, data)
		}
		if err != nil {
			l.fail(err)
			return 0
		}
		l.cmd, l.data = cmd, data
		switch cmd {
		case cmdMacro, cmdAbort: // admit saw to them
		case cmdQuit:
			l.stop(EndQuit)
		case cmdQuitNC:
			l.endSession(EndQuit)
		case cmdEndOfBody:
			return cmd
		default:
			l.event()
		}
	}
	return 0
}

// settle sends what was written and ends a message that was answered. It
// reports false at the end of the connection.
func (l *link) settle() bool {
	l.data = nil // memory of the transport's, which may give it to another
	if err := l.t.flush(); err != nil {
		l.stop(l.t.end(err))
	}
	if l.phase == phaseOver {
		l.endMessage()
	}
	return !l.closing
}

// stop makes e the way the connection ends, unless that is settled.
func (l *link) stop(e End) {
	l.closing = true
	if l.end == "" {
		l.end = e
	}
}

// fail ends the connection for an error of reading.
func (l *link) fail(err error) {
	l.logProtocolError(err)
	l.stop(l.t.end(err))
}

// admit takes a frame's place in the sequence.
func (l *link) admit(cmd byte, data []byte) error {
	if cmd == cmdMacro {
		// Macros of a new message come before its MAIL.
		if len(data) > 0 && beginsAnew(data[0]) {
			l.endMessage()
		}
		return l.conn.macros.add(data)
	}
	if cmd == cmdQuit || cmd == cmdQuitNC {
		return nil
	}
	next, ok := l.phase.after(cmd)
	switch {
	case ok:
	case known(cmd):
		return malformed{KindOutOfSequence}
	default:
		return malformed{KindUnknownCommand}
	}
	if beginsAnew(cmd) {
		l.endMessage()
	}
	l.phase = next
	l.conn.macros.event(cmd)
	return nil
}

// endMessage ends the message, if one is open, and what belonged to it. The
// macros of the step that comes next are not there yet.
func (l *link) endMessage() {
	if !l.phase.inMessage() {
		return
	}
	l.phase = phaseIdle
	l.abort()
	l.conn.macros.endMessage()
	l.held.message = ""
	l.srv.memory.release(l.message.memory)
	l.message = usage{}
	l.t.shrink()
}

// abort tells the Session, once a message. A Session that cannot even forget
// a message is not asked about the next one.
func (l *link) abort() {
	if !l.told {
		return
	}
	l.told = false
	if l.protect("milter.abort", l.session.Abort) {
		l.stop(EndPanic)
	}
}

// endSession closes the Session with e and forgets the client.
func (l *link) endSession(e End) {
	l.endMessage()
	if l.session != nil {
		s := l.session
		l.session = nil
		l.protect("milter.close", func() { s.Close(e) })
	}
	if l.counted {
		l.counted = false
		l.srv.opts.Observer.sessionEnded(e)
	}
	l.phase = phaseNew
	l.held = heldReplies{}
	neg := l.conn.neg
	l.conn = newConn(l.t.nc, l.t.limits)
	l.conn.neg = neg
}

// finish ends the connection. Only the first call counts.
func (l *link) finish() {
	if l.ended {
		return
	}
	l.ended = true
	_ = l.t.flush() // the MTA may be gone
	if l.end == "" {
		l.end = EndEOF
	}
	l.endSession(l.end)
	l.attendant.close()
	l.t.close()
	l.srv.done(l)
}

// rescue is deferred where a panic is the end of the connection.
func (l *link) rescue(component string) {
	if v := recover(); v != nil {
		l.logPanic(component, v)
		l.stop(EndPanic)
	}
}

// protect runs f and reports whether it panicked.
func (l *link) protect(component string, f func()) (panicked bool) {
	defer func() {
		if v := recover(); v != nil {
			panicked = true
			l.logPanic(component, v)
		}
	}()
	f()
	return false
}

func (l *link) logPanic(component string, v any) {
	stack := debug.Stack()
	l.srv.opts.Observer.panicked(component, stack)
	l.log().Error("panic", "component", component, "panic", fmt.Sprint(v), "stack", string(stack))
}

func (l *link) logProtocolError(err error) {
	var m malformed
	if !errors.As(err, &m) {
		return // the MTA left or fell silent: counted by how the session ends
	}
	l.srv.opts.Observer.protocolError(m.kind)
	l.log().Warn("milter protocol error", "kind", string(m.kind))
}

func (l *link) log() *slog.Logger {
	log := l.srv.opts.Logger.With("mta", l.conn.remote.String())
	if id := l.conn.Macro("i"); id != "" {
		log = log.With("queue_id", id)
	}
	return log
}
