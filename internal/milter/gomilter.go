package milter

import (
	"encoding/binary"
	"io"
	"net"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/wire"
)

// serve runs go-milter on the connection. go-milter serves it on a goroutine
// of its own; serve itself returns at once.
func (l *link) serve() {
	server := &gomilter.Server{
		NewMilter: func() gomilter.Milter { return backend{link: l} },
		Actions:   l.conn.terms.Actions,
		Protocol:  l.conn.terms.Protocol,
		SymList:   l.srv.symList,
	}
	// It ends with our own io.EOF, after the one connection.
	_ = server.Serve(&oneConn{conn: &shim{Conn: l.t.NetConn(), link: l, event: wire.CmdNegotiate}})
}

// backend is what go-milter calls.
type backend struct {
	gomilter.NoOpMilter
	link *link
}

// Body handles the end of the message. It returns no reply: go-milter would
// make itself a new buffer for it, and a new backend after most.
func (b backend) Body(*gomilter.Modifier) (gomilter.Response, error) {
	b.link.event()
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

// shim is the connection as go-milter sees it. Of an event it shows the
// command alone, a frame of one octet, to drive go-milter's loop. It fails in
// one way only, with io.EOF at a read, because go-milter writes every other
// error to the global log.
type shim struct {
	net.Conn
	link   *link
	event  byte // to show at the next read, 0 to wait for one
	length bool // the length of the next frame was read
}

// Read tells the length at once and waits with the command: go-milter takes
// less stack to read that, and a connection waits most of the time.
func (s *shim) Read(p []byte) (n int, err error) {
	if s.length = !s.length; s.length {
		return copy(p, "\x00\x00\x00\x01"), nil
	}
	cmd := s.event
	if s.event = 0; cmd == 0 {
		cmd = s.link.next()
	}
	if cmd == 0 {
		return 0, io.EOF
	}
	p[0] = cmd
	return 1, nil
}

// Write collects what go-milter sends; it goes out before the next read.
func (s *shim) Write(p []byte) (int, error) {
	l := s.link
	l.t.Append(p)
	if l.cmd == wire.CmdNegotiate {
		setVersion(l.t.Appended(), l.conn.terms.Version)
	}
	return len(p), nil
}

// setVersion puts the version agreed on into the frame that answers the
// negotiation: go-milter always says 2.
func setVersion(frame []byte, version uint32) {
	const at = 5 // after the length and the command
	if len(frame) >= at+4 && frame[at-1] == wire.CmdNegotiate {
		binary.BigEndian.PutUint32(frame[at:], version)
	}
}

// Close is go-milter's last call.
func (s *shim) Close() error {
	s.link.finish()
	return nil
}
