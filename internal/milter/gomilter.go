package milter

import (
	"encoding/binary"
	"io"
	"net"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/wire"
)

// serve runs go-milter on the connection. go-milter starts a goroutine for the connection, so
// serve returns at once.
func (l *link) serve() {
	server := &gomilter.Server{
		NewMilter: func() gomilter.Milter { return backend{link: l} },
		Actions:   l.conn.terms.Actions,
		Protocol:  l.conn.terms.Protocol,
		SymList:   l.srv.symList,
	}
	// The listener oneConn returns io.EOF after its connection, and Serve returns that error.
	_ = server.Serve(&oneConn{conn: &shim{Conn: l.t.NetConn(), link: l, event: wire.CmdNegotiate}})
}

// backend is the Milter that go-milter calls for a link.
type backend struct {
	gomilter.NoOpMilter
	link *link
}

// Body is called by go-milter at the end of a message. It lets the link handle the event, which
// appends the reply to the write buffer. Body returns nil to go-milter, because go-milter would
// allocate a buffer for a reply, and for most replies also a new backend.
func (b backend) Body(*gomilter.Modifier) (gomilter.Response, error) {
	b.link.event()
	return nil, nil
}

// oneConn is a listener that returns one connection and then io.EOF. Each connection has its own
// go-milter server, for two reasons. Each connection negotiates its own terms. And our own loop
// accepts the connections, because the accept loop of go-milter ends at the first error.
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

// shim is the connection that go-milter reads from and writes to. Each frame that go-milter reads
// has only one octet, the command. There is one such frame for each event that go-milter must
// handle. The only error of Read is io.EOF, and Write never fails, because go-milter writes any
// other error to the global log.
type shim struct {
	net.Conn
	link   *link
	event  byte // the command of the next frame; 0: wait for an event
	length bool // go-milter has read the length of the next frame, but not its command
}

// Read returns the length of a frame at once, and then waits for the event before it returns the
// command. An idle connection therefore waits in the read of the command, where go-milter uses
// less stack than in the read of the length.
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

// Write appends what go-milter writes to the transport, which sends it before the next read.
func (s *shim) Write(p []byte) (int, error) {
	l := s.link
	l.t.Append(p)
	if l.cmd == wire.CmdNegotiate {
		setVersion(l.t.Appended(), l.conn.terms.Version)
	}
	return len(p), nil
}

// setVersion puts the agreed version into the frame that answers the negotiation, because
// go-milter always writes version 2.
func setVersion(frame []byte, version uint32) {
	const at = 5 // the version follows the length and the command
	if len(frame) >= at+4 && frame[at-1] == wire.CmdNegotiate {
		binary.BigEndian.PutUint32(frame[at:], version)
	}
}

// Close ends the connection. It is go-milter's last call.
func (s *shim) Close() error {
	s.link.finish()
	return nil
}
