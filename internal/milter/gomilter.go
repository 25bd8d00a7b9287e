package milter

import (
	"encoding/binary"
	"io"
	"net"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/wire"
)

// serve runs go-milter on the connection. go-milter serves the connection in a goroutine
// of its own, so serve returns at once.
func (l *link) serve() {
	server := &gomilter.Server{
		NewMilter: func() gomilter.Milter { return backend{link: l} },
		Actions:   l.conn.terms.Actions,
		Protocol:  l.conn.terms.Protocol,
		SymList:   l.srv.symList,
	}
	// Serve ends with the io.EOF that oneConn returns after the one connection.
	_ = server.Serve(&oneConn{conn: &shim{Conn: l.t.NetConn(), link: l, event: wire.CmdNegotiate}})
}

// backend is the part of a link that go-milter calls.
type backend struct {
	gomilter.NoOpMilter
	link *link
}

// Body is what go-milter calls at the end of a message. It returns no reply, because
// go-milter would make a new buffer for it, and for most replies a new backend.
func (b backend) Body(*gomilter.Modifier) (gomilter.Response, error) {
	b.link.event()
	return nil, nil
}

// oneConn is a listener that returns one connection. Each connection has a go-milter
// server of its own, for two reasons: it negotiates its own terms, and the loop that
// accepts connections stays ours. go-milter would end that loop at the first error.
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

// shim is the connection as go-milter sees it. It shows go-milter a frame of one octet,
// the command, for each event that go-milter handles. A read fails with io.EOF only, and
// a write never fails, because go-milter writes every other error to the global log.
type shim struct {
	net.Conn
	link   *link
	event  byte // the command that the next read shows; 0: wait for an event
	length bool // the length of the next frame was read
}

// Read returns the length of a frame at once and waits before it returns the command. A
// connection waits most of the time, and go-milter needs less stack for reading the
// command than for reading the length.
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

// Write keeps what go-milter writes. It is sent before the next read.
func (s *shim) Write(p []byte) (int, error) {
	l := s.link
	l.t.Append(p)
	if l.cmd == wire.CmdNegotiate {
		setVersion(l.t.Appended(), l.conn.terms.Version)
	}
	return len(p), nil
}

// setVersion puts the version that was agreed on into the frame that answers the
// negotiation, because go-milter always writes 2.
func setVersion(frame []byte, version uint32) {
	const at = 5 // the version follows the length and the command
	if len(frame) >= at+4 && frame[at-1] == wire.CmdNegotiate {
		binary.BigEndian.PutUint32(frame[at:], version)
	}
}

// Close is go-milter's last call.
func (s *shim) Close() error {
	s.link.finish()
	return nil
}
