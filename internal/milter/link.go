package milter

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"

	"sekimori/internal/milter/dialogue"
	"sekimori/internal/milter/wire"
)

// link is one MTA connection, from its first frame to its end. It sits on both
// sides of go-milter: as the net.Conn it reads tokens from and writes edits to,
// and as the backend it calls (conn.go). All of it runs on go-milter's
// goroutine of the connection: its read handles events until the next one that
// is for go-milter.
type link struct {
	srv    *Server
	t      *wire.Transport
	limits *Limits
	conn   *Conn
	refuse RejectReason // not "": every session is answered tempfail

	session Session // nil before CONNECT
	counted bool    // SessionStarted was called
	phase   dialogue.Phase
	cmd     byte   // the event that is handled
	data    []byte // its payload

	inMessage bool // Mail was called and Abort was not: it must be
	held      heldReplies
	message   usage

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
	case wire.CmdConnect:
		slot = &h.connect
	case wire.CmdHelo:
		slot = &h.helo
	}
	if *slot == "" {
		*slot = r
	}
}

// usage is what a message has had of its limits.
type usage struct {
	recipients, envelope, fields, header int
	memory                               int64    // reserved for it
	outliner                             Outliner // set once it is over a limit and goes on
}

func newLink(srv *Server, nc net.Conn, set *settings, refuse RejectReason) *link {
	return &link{
		srv:    srv,
		t:      wire.NewTransport(nc, &set.frames, &srv.buffers),
		limits: &set.Limits,
		conn:   newConn(nc, &set.Limits),
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
	return &Conn{remote: nc.RemoteAddr(), local: nc.LocalAddr(), macros: wire.Macros{Limit: limits.MaxMacroBytes}}
}

// begin negotiates, or ends the connection and reports false. What the MTA
// offers must be known before go-milter answers it: an MTA drops a milter that
// asks for more.
func (l *link) begin() (ok bool) {
	defer l.rescue("milter.negotiate")
	cmd, data, err := l.t.ReadFrame(l.idle(), true)
	var o wire.Offer
	switch {
	case err != nil:
	case !wire.Known(cmd):
		err = wire.Malformed{Kind: wire.KindUnknownCommand}
	case cmd != wire.CmdNegotiate:
		err = wire.Malformed{Kind: wire.KindOutOfSequence}
	default:
		o, err = wire.ParseOffer(data)
	}
	if err != nil {
		l.fail(err)
		return false
	}
	at := l.srv.settings.Load().ReplyAt
	if l.refuse != "" {
		at = ReplyAt{Connect: true}
	}
	l.conn.terms = dialogue.Negotiate(o, at.to)
	l.cmd = wire.CmdNegotiate
	return true
}

// idle is how long the MTA may now be silent.
func (l *link) idle() time.Duration {
	limits := l.limits
	switch {
	case l.refuse != "":
		return limits.FrameTimeout
	case l.phase == dialogue.PhaseData, l.phase == dialogue.PhaseRcpt && l.conn.terms.Version < 4:
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
		cmd, data, err := l.t.ReadFrame(l.idle(), !l.phase.InMessage())
		if err == nil {
			err = l.admit(cmd, data)
		}
		if err != nil {
			l.fail(err)
			return 0
		}
		l.cmd, l.data = cmd, data
		switch cmd {
		case wire.CmdMacro, wire.CmdAbort: // admit saw to them
		case wire.CmdQuit:
			l.stop(EndQuit)
		case wire.CmdQuitNC:
			l.endSession(EndQuit)
		case wire.CmdEndOfBody:
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
	if err := l.t.Flush(); err != nil {
		l.stop(l.endOf(err))
	}
	if l.phase == dialogue.PhaseAnswered {
		l.endMessage(0)
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
	l.stop(l.endOf(err))
}

// endOf says what a read or write error means for the session.
func (l *link) endOf(err error) End {
	var m wire.Malformed
	switch {
	case errors.As(err, &m):
		return EndProtocolError
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return EndEOF
	case l.t.Hastened():
		return EndDrain
	}
	return EndTimeout
}

// admit takes a frame's place in the sequence.
func (l *link) admit(cmd byte, data []byte) error {
	if cmd == wire.CmdMacro {
		// Macros are no event: libmilter takes them anywhere, and some clients
		// repeat those of MAIL before every command of a message.
		return l.conn.macros.Add(data)
	}
	if cmd == wire.CmdQuit || cmd == wire.CmdQuitNC {
		return nil
	}
	next, ok := l.phase.After(cmd)
	switch {
	case ok:
	case wire.Known(cmd):
		return wire.Malformed{Kind: wire.KindOutOfSequence}
	default:
		return wire.Malformed{Kind: wire.KindUnknownCommand}
	}
	if dialogue.BeginsAnew(cmd) {
		l.endMessage(cmd)
	}
	l.phase = next
	l.conn.macros.Event(cmd)
	return nil
}

// endMessage ends the message, if one is open, and what belonged to it. next is
// the command that ends it, 0 for none: macros sent for that command stay.
func (l *link) endMessage(next byte) {
	if !l.phase.InMessage() {
		return
	}
	l.phase = dialogue.PhaseIdle
	l.abort()
	l.conn.macros.EndMessage(next)
	l.held.message = ""
	l.release()
	l.message = usage{}
	l.t.Shrink()
}

// abort tells the Session, once a message. A Session that cannot even forget
// a message is not asked about the next one.
func (l *link) abort() {
	if !l.inMessage {
		return
	}
	l.inMessage = false
	if l.protect("milter.abort", l.session.Abort) {
		l.stop(EndPanic)
	}
}

// endSession closes the Session with e and forgets the client.
func (l *link) endSession(e End) {
	l.endMessage(0)
	if l.session != nil {
		s := l.session
		l.session = nil
		l.protect("milter.close", func() { s.Close(e) })
	}
	if l.counted {
		l.counted = false
		l.srv.opts.Observer.sessionEnded(e)
	}
	l.phase = dialogue.PhaseNew
	l.held = heldReplies{}
	terms := l.conn.terms
	l.conn = newConn(l.t.NetConn(), l.limits)
	l.conn.terms = terms
}

// finish ends the connection. Only the first call counts.
func (l *link) finish() {
	if l.ended {
		return
	}
	l.ended = true
	_ = l.t.Flush() // the MTA may be gone
	if l.end == "" {
		l.end = EndEOF
	}
	l.endSession(l.end)
	l.attendant.close()
	l.t.Close()
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
	var m wire.Malformed
	if !errors.As(err, &m) {
		return // the MTA left or fell silent: counted by how the session ends
	}
	l.srv.opts.Observer.protocolError(m.Kind)
	if l.srv.errors.take(l.srv.leftOut) {
		l.log().Warn("milter protocol error", "kind", string(m.Kind))
	}
}

func (l *link) log() *slog.Logger {
	log := l.srv.opts.Logger.With("mta", l.conn.remote.String())
	if id := l.conn.Macro("i"); id != "" {
		log = log.With("queue_id", id)
	}
	return log
}
