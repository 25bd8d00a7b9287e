package milter

import (
	"encoding/binary"
	"io"
	"net"

	gomilter "github.com/emersion/go-milter"
)

// What go-milter is shown of an event: a frame that drives its loop and calls
// backend. What the MTA sent stays with the link.
const (
	tokenNegotiate    = "\x00\x00\x00\x01O"
	tokenReply        = "\x00\x00\x00\x01B" // any event that a reply is due to: a part of a body to go-milter
	tokenEndOfMessage = "\x00\x00\x00\x01E"
)

// serve runs go-milter on the connection. go-milter serves it on a goroutine
// of its own; serve itself returns at once.
func (l *link) serve() {
	server := &gomilter.Server{
		NewMilter: func() gomilter.Milter { return backend{link: l} },
		Actions:   gomilter.OptAction(l.conn.neg.actions),
		Protocol:  l.conn.neg.protocol,
		SymList:   l.srv.symList,
	}
	// It ends with our own io.EOF, after the one connection.
	_ = server.Serve(&oneConn{conn: &shim{Conn: l.t.nc, link: l}})
}

// backend is what go-milter calls when the link has shown it an event.
type backend struct {
	gomilter.NoOpMilter
	link *link
}

// BodyChunk handles an event that a reply is due to.
func (b backend) BodyChunk([]byte, *gomilter.Modifier) (gomilter.Response, error) {
	return b.link.reply(nil), nil
}

// Body handles the end of the message.
func (b backend) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	return b.link.reply(m), nil
}

// reply returns what go-milter is to send, nil for nothing.
func (l *link) reply(w *gomilter.Modifier) gomilter.Response {
	if r := l.event(w); r != "" {
		return response(r)
	}
	return nil
}

// response is a reply for go-milter. Continue is always true: otherwise
// go-milter would go on with a new backend.
type response Reply

func (r response) Response() *gomilter.Message {
	msg := &gomilter.Message{Code: r[0], Data: []byte(r[1:])}
	if r[0] == codeReply {
		msg.Data = append(msg.Data, 0)
	}
	return msg
}

func (response) Continue() bool { return true }

// oneConn is a listener with one connection to give: a server of its own for
// each lets every connection negotiate for itself, and keeps the accept loop,
// which go-milter ends at the first error, ours.
type oneConn struct{ conn *shim }

func (o *oneConn) Accept() (net.Conn, error) {
	if o.conn == nil {
		return nil, io.EOF
	}
	c := o.conn
	o.conn = nil
	return c, nil
}

func (o *oneConn) Close() error { return nil }

func (o *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// shim is the connection as go-milter sees it. It fails in one way only, with
// io.EOF at a read, because go-milter writes every other error to the global
// log.
type shim struct {
	net.Conn
	link *link
}

// Read gives go-milter the next token.
func (s *shim) Read(p []byte) (n int, err error) {
	l := s.link
	if len(l.pending) == 0 {
		more := false
		if l.protect("milter.read", func() { more = l.next() }) {
			l.stop(EndPanic)
		}
		if !more {
			return 0, io.EOF
		}
	}
	n = copy(p, l.pending)
	l.pending = l.pending[n:]
	return n, nil
}

// Write collects what go-milter sends; it goes out before the next read.
func (s *shim) Write(p []byte) (int, error) {
	l := s.link
	l.t.write(p)
	if l.cmd == cmdNegotiate {
		setVersion(l.t.out.b, l.conn.neg.version)
	}
	return len(p), nil
}

// setVersion puts the version agreed on into the frame that answers the
// negotiation: go-milter always says 2.
func setVersion(frame []byte, version uint32) {
	const at = 5 // after the length and the command
	if len(frame) >= at+4 && frame[at-1] == cmdNegotiate {
		binary.BigEndian.PutUint32(frame[at:], version)
	}
}

// Close is go-milter's last call.
func (s *shim) Close() error {
	s.link.finish()
	return nil
}
