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

// link is one MTA connection, from its first frame to its end. It is on both sides of
// go-milter (gomilter.go): as the net.Conn that go-milter reads tokens from, and as the
// backend that go-milter calls. Everything runs in the goroutine that go-milter has for
// the connection. When go-milter reads, the link handles events until one comes that
// go-milter must handle.
type link struct {
	srv    *Server
	t      *wire.Transport
	limits *Limits
	conn   *Conn
	refuse RejectReason // if it is not "", every session is answered tempfail

	session Session // nil before CONNECT
	counted bool    // SessionStarted was called
	phase   dialogue.Phase
	cmd     byte   // the event that is being handled
	data    []byte // its payload

	inMessage bool // Mail was called and Abort was not: it must be
	held      heldReplies
	message   usage

	attendant *attendant // nil before the first end of a message

	closing bool // end the connection when what is written has been sent
	ended   bool
	end     End
}

// heldReplies are replies that wait for a step at which the MTA expects one. A reply to
// CONNECT is valid for the whole connection, a reply to HELO until the next HELO, and any
// other reply for the message.
type heldReplies struct{ connect, helo, message Reply }

// reply returns the reply that the next step gets, or "" if none is held.
func (h heldReplies) reply() Reply {
	switch {
	case h.connect != "":
		return h.connect
	case h.helo != "":
		return h.helo
	}
	return h.message
}

// hold keeps r as the reply to cmd: for the connection, the HELO or the message. A reply
// that is held for it already stays.
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

// usage counts what a message has used of its limits.
type usage struct {
	recipients, envelope, fields, header int
	memory                               int64    // reserved for it
	outliner                             Outliner // set when the message exceeds a limit and goes on
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

// startSession counts a session: when the connection was accepted, and at the first
// CONNECT after QUIT_NC.
func (l *link) startSession() {
	if !l.counted {
		l.counted = true
		l.srv.opts.Observer.sessionStarted()
	}
}

func newConn(nc net.Conn, limits *Limits) *Conn {
	return &Conn{remote: nc.RemoteAddr(), local: nc.LocalAddr(), macros: wire.Macros{Limit: limits.MaxMacroBytes}}
}

// begin reads the MTA's offer and decides on the terms. If that fails, it reports false and
// the connection ends. The offer must be known before go-milter answers it, because an MTA
// drops a milter that asks for more than was offered.
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

// idle returns how long the MTA may be silent now.
func (l *link) idle() time.Duration {
	limits := l.limits
	switch {
	case l.refuse != "":
		return limits.FrameTimeout
	case l.phase == dialogue.PhaseData, l.phase == dialogue.PhaseRcpt && l.conn.terms.Version < 4:
		// MTAs send DATA since version 4. Before, RCPT is the last step before the transfer.
		return limits.TransferTimeout
	}
	return limits.IdleTimeout
}

// next handles events until one comes that go-milter must handle, and returns its command.
// It returns 0 at the end of the connection. Before it waits for the MTA, it sends what is
// written.
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
		case wire.CmdMacro, wire.CmdAbort: // admit has handled them
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

// settle sends what is written and ends a message that has its final reply. It reports
// false if the connection is to end.
func (l *link) settle() bool {
	l.data = nil // it is in a buffer of the transport, which may give the buffer to another connection
	if err := l.t.Flush(); err != nil {
		l.stop(l.endOf(err))
	}
	if l.phase == dialogue.PhaseAnswered {
		l.endMessage(0)
	}
	return !l.closing
}

// stop makes the connection end with e. Only the first call decides how it ends.
func (l *link) stop(e End) {
	l.closing = true
	if l.end == "" {
		l.end = e
	}
}

// fail ends the connection because reading failed.
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

// admit checks that the command may come now, and moves to the next phase. Macros and
// ABORT are dealt with here.
func (l *link) admit(cmd byte, data []byte) error {
	if cmd == wire.CmdMacro {
		// Macros have no place in the sequence. libmilter accepts them anywhere, and some
		// MTAs repeat the macros of MAIL before every command of a message.
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

// endMessage ends the message, if there is one, and forgets what belonged to it. next is
// the command that ends the message, or 0. Macros that were sent for that command stay.
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

// abort calls Abort of the Session, once for each message. If Abort panics the connection
// ends, because the next message cannot be handled safely.
func (l *link) abort() {
	if !l.inMessage {
		return
	}
	l.inMessage = false
	if l.protect("milter.abort", l.session.Abort) {
		l.stop(EndPanic)
	}
}

// endSession closes the Session with e and forgets the SMTP client. The connection may
// then be used for another session.
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

// finish ends the connection. Further calls have no effect.
func (l *link) finish() {
	if l.ended {
		return
	}
	l.ended = true
	_ = l.t.Flush() // an error means that the MTA has gone
	if l.end == "" {
		l.end = EndEOF
	}
	l.endSession(l.end)
	l.attendant.close()
	l.t.Close()
	l.srv.done(l)
}

// rescue must be deferred. If there is a panic, it logs the panic and the connection ends.
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
		return // the MTA left or was silent, which is counted when the session ends
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
