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

// link is one MTA connection, from its first frame to its end. A worker serves it (see gomilter.go):
// go-milter reads the commands of the link, and calls the link as its backend. Everything except the
// attendant runs in the goroutine of the worker.
type link struct {
	srv    *Server
	t      *wire.Transport
	limits *Limits
	conn   *Conn
	refuse RejectReason // if it is not "", the link refuses every session on this connection with tempfail

	session Session // nil before CONNECT
	counted bool    // SessionStarted was called, and SessionEnded was not
	phase   dialogue.Phase
	cmd     byte   // the event that is being handled
	data    []byte // the payload of that event

	inMessage bool // Mail was called and Abort was not, so Abort must be called
	held      heldReplies
	message   usage

	attendant *attendant // nil before the first end of a message

	closing bool // end the connection after sending what is in the write buffer
	ended   bool
	end     End
}

// heldReplies are replies of the Session that are given to later events, for one of two reasons.
// The MTA did not wait for a reply to the earlier event, or the reply is valid for more than one
// event. A reply to CONNECT is valid for the whole session, a reply to HELO until the next HELO,
// and any other reply for the message.
type heldReplies struct{ connect, helo, message Reply }

// reply returns the reply to the next event, or "" if no reply is held.
func (h heldReplies) reply() Reply {
	switch {
	case h.connect != "":
		return h.connect
	case h.helo != "":
		return h.helo
	}
	return h.message
}

// hold keeps r for later events. cmd is the event to which r is the reply, and decides how long r
// is valid. If a reply that is valid for the same time is held already, hold has no effect.
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

// usage counts how much of its limits a message has used.
type usage struct {
	recipients, envelope, fields, header int
	memory                               int64    // octets of Limits.Memory that are reserved for the message
	outliner                             Outliner // not nil if the message exceeded a limit and this Outliner goes on with it
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

// startSession reports the beginning of a session to the Observer, once for each session. It is
// called when a connection is accepted, and again at CONNECT, because a CONNECT after QUIT_NC
// begins another session.
func (l *link) startSession() {
	if !l.counted {
		l.counted = true
		l.srv.opts.Observer.sessionStarted()
	}
}

func newConn(nc net.Conn, limits *Limits) *Conn {
	return &Conn{remote: nc.RemoteAddr(), local: nc.LocalAddr(), macros: wire.Macros{Limit: limits.MaxMacroBytes}}
}

// begin reads the MTA's offer, sets the terms, and writes them to the write buffer. If that fails, the
// connection ends. begin, not go-milter, must read the offer. go-milter would ask for everything that
// it is configured to ask for, and an MTA closes the connection if a milter asks for more than the MTA
// offered.
func (l *link) begin() {
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
		return
	}
	at := l.srv.settings.Load().ReplyAt
	if l.refuse != "" {
		at = ReplyAt{Connect: true}
	}
	l.conn.terms = dialogue.Negotiate(o, at.to)
	l.t.Append(l.srv.agree(l.conn.terms))
}

// idle returns how long the MTA may be silent in the current phase.
func (l *link) idle() time.Duration {
	limits := l.limits
	switch {
	case l.refuse != "":
		return limits.FrameTimeout
	case l.phase == dialogue.PhaseData, l.phase == dialogue.PhaseRcpt && l.conn.terms.Version < 4:
		// MTAs before protocol version 4 do not send DATA to milters. For them the transfer of the
		// message begins after RCPT.
		return limits.TransferTimeout
	}
	return limits.IdleTimeout
}

// next handles events until one comes that go-milter must handle, and returns the command of
// that event. It returns 0 at the end of the connection. Before it waits for the MTA, it sends
// the contents of the write buffer.
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
		case wire.CmdMacro, wire.CmdAbort: // admit has handled these
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

// settle sends the contents of the write buffer, and ends a message whose final reply was sent.
// It returns false if the connection is to end.
func (l *link) settle() bool {
	l.data = nil // the transport may now give the buffer that l.data points into to another connection
	if err := l.t.Flush(); err != nil {
		l.stop(l.endOf(err))
	}
	if l.phase == dialogue.PhaseAnswered {
		l.endMessage(0)
	}
	return !l.closing
}

// stop makes the connection end with e. If stop was called before, e has no effect.
func (l *link) stop(e End) {
	l.closing = true
	if l.end == "" {
		l.end = e
	}
}

// fail ends the connection after an error of reading.
func (l *link) fail(err error) {
	l.logProtocolError(err)
	l.stop(l.endOf(err))
}

// endOf returns the End that the session has after a read or write error.
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

// admit checks that the command is allowed in the current phase, and moves to the next phase. It
// handles macros and ABORT completely.
func (l *link) admit(cmd byte, data []byte) error {
	if cmd == wire.CmdMacro {
		// Macros are allowed in every phase, as in libmilter. Some MTAs repeat the macros of MAIL
		// before every command of a message.
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

// endMessage ends the message, if there is one, and forgets everything about it. next is the
// command that ends the message, or 0. Macros that the MTA sent for next are kept.
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

// abort calls Abort of the Session, once for each message. If Abort panics, the connection ends,
// because the Session might mix the next message with this one.
func (l *link) abort() {
	if !l.inMessage {
		return
	}
	l.inMessage = false
	if l.protect("milter.abort", l.session.Abort) {
		l.stop(EndPanic)
	}
}

// endSession calls Close of the Session and forgets the SMTP client. After QUIT_NC the
// connection is then used for another session.
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

// finish ends the connection. Only the first call has an effect.
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

// rescue must be deferred. After a panic it logs the panic and makes the connection end.
func (l *link) rescue(component string) {
	if v := recover(); v != nil {
		l.logPanic(component, v)
		l.stop(EndPanic)
	}
}

// protect runs f. If f panics, protect logs the panic and returns true.
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
		return // the MTA left or was silent; SessionEnded counts that
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
