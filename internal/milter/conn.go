package milter

import (
	"encoding/binary"
	"io"
	"net"

	gomilter "github.com/emersion/go-milter"
)

// What go-milter is shown of an event: a frame that drives its loop. What the
// MTA sent stays with the link.
const (
	tokenNegotiate    = "\x00\x00\x00\x01O"
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

// backend is what go-milter calls.
type backend struct {
	gomilter.NoOpMilter
	link *link
}

// Body handles the end of the message. It returns no reply: go-milter would
// make itself a new buffer for it, and a new backend after most.
func (b backend) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	b.link.event(m)
	return nil, nil
}

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
