package milter

import (
	"encoding/binary"
	"io"
	"net"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/dialogue"
	"sekimori/internal/milter/wire"
)

// keptWorkers is the largest number of workers that wait for a connection. A worker that waits keeps
// its goroutine and its stack, which the garbage collector shrinks.
const keptWorkers = 64

// worker is a goroutine in which go-milter serves connections, one after another. An MTA opens a
// connection for each SMTP session, and many sessions have one message. With a new goroutine for each
// connection, the growth of its stack would take 4 % of the CPU time of a small message.
type worker struct {
	srv  *Server
	next chan *link // the next connection; closed if there will be none
}

// serve makes a worker serve l: the worker "idle", or a new one if idle is nil. go-milter starts the
// goroutine of a new worker, so serve returns at once.
func (s *Server) serve(l *link, idle *worker) {
	if idle != nil {
		idle.next <- l
		return
	}
	w := &worker{srv: s, next: make(chan *link, 1)}
	w.next <- l
	conn := &shim{worker: w}
	server := &gomilter.Server{NewMilter: func() gomilter.Milter { return backend{shim: conn} }}
	// The listener oneConn returns io.EOF after its connection, and Serve returns that error.
	_ = server.Serve(&oneConn{conn: conn})
}

// park waits for the next connection. It returns nil if the worker is to end, because enough
// workers wait already or the server is shutting down.
func (w *worker) park() *link {
	s := w.srv
	s.mu.Lock()
	wait := !s.drained && len(s.idle) < keptWorkers
	if wait {
		s.idle = append(s.idle, w)
	}
	s.mu.Unlock()
	if !wait {
		return nil
	}
	return <-w.next
}

// takeIdle returns the worker that has waited for the shortest time, or nil if none waits. The caller
// holds s.mu.
func (s *Server) takeIdle() *worker {
	last := len(s.idle) - 1
	if last < 0 {
		return nil
	}
	w := s.idle[last]
	s.idle[last] = nil
	s.idle = s.idle[:last]
	return w
}

// endIdle makes the workers end that wait for a connection. The caller holds s.mu.
func (s *Server) endIdle() {
	for _, w := range s.idle {
		close(w.next)
	}
	s.idle = nil
}

// backend is the Milter that go-milter calls for the connections of a worker.
type backend struct {
	gomilter.NoOpMilter
	shim *shim
}

// Body is called by go-milter at the end of a message. It lets the link handle the event, which
// appends the reply to the write buffer. Body returns nil to go-milter, because go-milter would
// allocate a buffer for a reply, and for most replies also a new backend.
func (b backend) Body(*gomilter.Modifier) (gomilter.Response, error) {
	b.shim.link.event()
	return nil, nil
}

// oneConn is a listener that returns one connection and then io.EOF. Each worker has its own go-milter
// server, because our own loop accepts the connections of the MTAs: the accept loop of go-milter ends
// at the first error.
type oneConn struct{ conn net.Conn }

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

// shim is the connection that go-milter reads from. For go-milter it is one connection with very many
// messages, whatever number of MTA connections they come from. Each frame that go-milter reads has
// only one octet, the command. There is one such frame for each event that go-milter must handle,
// which is the end of a message. The only error of Read is io.EOF, because go-milter writes any other
// error to the global log.
type shim struct {
	net.Conn // nil; go-milter calls only Read, Write and Close
	worker   *worker
	link     *link // the MTA connection that is being served; nil between two of them
	length   bool  // go-milter has read the length of the next frame, but not its command
}

// Read returns the length of a frame at once, and then waits for the event before it returns the
// command. An idle connection therefore waits in the read of the command, where go-milter uses
// less stack than in the read of the length.
func (s *shim) Read(p []byte) (n int, err error) {
	if s.length = !s.length; s.length {
		return copy(p, "\x00\x00\x00\x01"), nil
	}
	cmd := s.next()
	if cmd == 0 {
		return 0, io.EOF
	}
	p[0] = cmd
	return 1, nil
}

// next returns the next command that go-milter must handle. It serves one MTA connection after
// another, and returns 0 when the worker is to end.
func (s *shim) next() byte {
	for {
		if s.link != nil {
			if cmd := s.link.next(); cmd != 0 {
				return cmd
			}
			s.finish()
			s.link = s.worker.park()
		} else {
			s.link = <-s.worker.next // the first connection of this worker
		}
		if s.link == nil {
			return 0
		}
		s.link.begin()
	}
}

// finish ends the MTA connection that is being served, if there is one.
func (s *shim) finish() {
	if l := s.link; l != nil {
		s.link = nil
		l.finish()
	}
}

// Write is not called, because Body gives go-milter nothing to write.
func (s *shim) Write(p []byte) (int, error) { return len(p), nil }

// Close ends the worker. It is go-milter's last call.
func (s *shim) Close() error {
	s.finish()
	s.worker.srv.wg.Done()
	return nil
}

// agreement is go-milter's answer to an offer, which depends on nothing but the terms.
type agreement struct {
	terms  dialogue.Terms
	answer []byte
}

// agree returns the frame with which go-milter tells the MTA the terms. An MTA makes the same offer
// on each of its connections, so the last answer is kept.
func (s *Server) agree(terms dialogue.Terms) []byte {
	if last := s.agreed.Load(); last != nil && last.terms == terms {
		return last.answer
	}
	offer := &negotiation{done: make(chan struct{})}
	server := &gomilter.Server{
		NewMilter: func() gomilter.Milter { return gomilter.NoOpMilter{} },
		Actions:   terms.Actions,
		Protocol:  terms.Protocol,
		SymList:   s.symList,
	}
	_ = server.Serve(&oneConn{conn: offer}) // the error is that of oneConn: there is no second connection
	<-offer.done
	setVersion(offer.answer, terms.Version)
	s.agreed.Store(&agreement{terms, offer.answer})
	return offer.answer
}

// negotiation is a connection on which go-milter reads an offer, and then the end of the connection.
type negotiation struct {
	net.Conn // nil; go-milter calls only Read, Write and Close
	read     int
	answer   []byte
	done     chan struct{} // closed when go-milter closes the connection
}

func (n *negotiation) Read(p []byte) (int, error) {
	const frame = "\x00\x00\x00\x01" + string(wire.CmdNegotiate)
	m := copy(p, frame[n.read:])
	if n.read += m; m == 0 {
		return 0, io.EOF
	}
	return m, nil
}

func (n *negotiation) Write(p []byte) (int, error) {
	n.answer = append(n.answer, p...)
	return len(p), nil
}

func (n *negotiation) Close() error {
	close(n.done)
	return nil
}

// setVersion puts the agreed version into the frame that answers the negotiation, because
// go-milter always writes version 2.
func setVersion(frame []byte, version uint32) {
	const at = 5 // the version follows the length and the command
	if len(frame) >= at+4 && frame[at-1] == wire.CmdNegotiate {
		binary.BigEndian.PutUint32(frame[at:], version)
	}
}
