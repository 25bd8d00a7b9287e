package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"sekimori/internal/resolver/dnswire"
)

// These constants bound how long a UDP socket, and with it its random port, is in use. To open and
// close a socket takes more CPU time than a query on it. So a socket is used for several queries,
// one after the other.
//
// A forger on another host must guess the port, the ID and the letter case of a query that waits
// for its answer (RFC 5452 §9.2). The use of a socket for several queries does not make one guess
// better: each query has its own random ID and letter case, the kernel chose the port at random,
// and a packet that came before the query is not taken for its answer (see socket.begin). But a
// forger gets more time to find out the port: up to maxAge, and no longer than maxUses queries. A
// forger who knows the port can make one attack. After the first wrong guess, the socket is not used
// for another query, whether a query was waiting or not. A query that was waiting ends after
// maxStrays guesses. If the name has no letters, 256 guesses of 65,536 IDs succeed with a
// probability of 0.4 %. Each letter of the name halves this probability. It is the same for a socket
// that is used only once, if a forger knows the port.
const (
	maxUses = 8
	maxAge  = 2 * time.Second
	// maxIdle bounds the sockets that are kept without a query.
	maxIdle = 64
	// sweepEvery is how often idle sockets are closed that are older than maxAge.
	sweepEvery = time.Second
)

// errStale means that a socket cannot be used again: something arrived on it that no query waited
// for, or the packet could not be sent. No query was sent.
var errStale = errors.New("resolver: socket cannot be used again")

// socket is a connected UDP socket with a random port. At most one query waits on it.
type socket struct {
	net.Conn
	raw    syscall.RawConn // nil if the socket must not be used again
	server *server
	opened time.Duration // on the client's clock
	uses   int

	interrupt func()                // interruptNow
	step      func(fd uintptr) bool // stepNow
	inquiry
}

// inquiry is a query that waits for its answer on a socket.
type inquiry struct {
	query   dnswire.Query
	buf     []byte
	sent    bool
	strays  int // number of packets that do not answer the query
	failure error
	answered
}

// newSocket returns the socket for conn. It can serve several queries only if conn is a real UDP
// socket (not a test double) and its descriptor is not from the reserve.
func newSocket(conn net.Conn, s *server, now time.Duration) *socket {
	k := &socket{Conn: conn, server: s, opened: now}
	if u, ok := conn.(*net.UDPConn); ok {
		k.raw, _ = u.SyscallConn()
	}
	k.interrupt, k.step = k.interruptNow, k.stepNow
	return k
}

func (k *socket) interruptNow() { _ = k.SetReadDeadline(past) }

// exchange sends q and waits for the answer until the deadline or the end of ctx. It reports
// whether the socket may be used again. The answer may be a part of buf.
func (k *socket) exchange(ctx context.Context, q dnswire.Query, buf []byte, deadline time.Time) (again bool, err error) {
	k.inquiry = inquiry{query: q, buf: buf}
	k.uses++
	_ = k.SetReadDeadline(deadline)
	stop := context.AfterFunc(ctx, k.interrupt)
	if k.raw != nil {
		err = k.raw.Read(k.step)
	} else {
		err = k.converse(deadline)
	}
	interrupted := !stop()
	if k.failure != nil {
		err = k.failure
	}
	if err == nil && k.Match == dnswire.Stray {
		err = errFlood
	}
	return k.Match == dnswire.Whole && k.strays == 0 && k.raw != nil && !interrupted, err
}

// converse sends the query and reads packets until one of them ends the inquiry.
func (k *socket) converse(deadline time.Time) error {
	_ = k.SetWriteDeadline(deadline)
	if _, err := k.Write(k.query.Packet); err != nil {
		return err
	}
	for {
		n, err := k.Read(k.buf)
		if err != nil || k.ends(k.buf[:n]) {
			return err
		}
	}
}

// stepNow does what converse does, without waiting. It is called once at the beginning, and then
// each time when the socket may have a packet. It returns true if the inquiry has ended. This takes
// fewer system calls than Write and Read: Read would first look for the answer before it can have
// come.
func (k *socket) stepNow(fd uintptr) bool {
	if !k.sent {
		k.sent = true
		k.failure = k.begin(int(fd))
		return k.failure != nil
	}
	for {
		n, err := syscall.Read(int(fd), k.buf)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err != nil:
			k.failure = k.explain("read", err)
			return true
		case k.ends(k.buf[:n]):
			return true
		}
	}
}

// begin sends the query. If the socket was used before, begin first makes sure that no packet has
// arrived in the meantime: a forger may have sent it before the query, to be the first.
func (k *socket) begin(fd int) error {
	if k.uses > 1 {
		if _, err := syscall.Read(fd, k.buf); !errors.Is(err, syscall.EAGAIN) {
			return errStale
		}
	}
	_, err := syscall.Write(fd, k.query.Packet)
	switch {
	case err == nil:
		return nil
	case k.uses > 1:
		return errStale
	}
	return k.explain("write", err)
}

// explain returns the error for a system call that failed, as Read and Write would.
func (k *socket) explain(call string, err error) error {
	return &net.OpError{Op: call, Net: "udp", Source: k.LocalAddr(), Addr: k.RemoteAddr(), Err: os.NewSyscallError(call, err)}
}

// ends reports whether a packet ends the inquiry. It does if it is the answer, or if too many
// packets were not the answer.
func (x *inquiry) ends(packet []byte) bool {
	m := x.query.Match(packet)
	if m == dnswire.Stray {
		x.strays++
		return x.strays >= maxStrays
	}
	x.answered = answered{packet, m}
	return true
}

// pool keeps sockets that may be used again.
type pool struct {
	now func() time.Duration

	mu     sync.Mutex
	idle   []*socket // in the order in which they became idle
	sweep  *time.Timer
	closed bool
}

// take returns an idle socket to s, or nil. It returns the one that was used last, so that the
// number of sockets follows the number of queries, and ports are soon replaced.
func (p *pool) take(s *server) *socket {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, k := range slices.Backward(p.idle) {
		if k.server == s && p.now()-k.opened < maxAge {
			p.idle = slices.Delete(p.idle, i, i+1)
			return k
		}
	}
	return nil
}

// put keeps k for a later query, or closes it. room is the largest number of idle sockets.
func (p *pool) put(k *socket, room int) {
	k.inquiry = inquiry{}
	p.mu.Lock()
	keep := k.uses < maxUses && !p.closed && len(p.idle) < min(room, maxIdle)
	if keep {
		p.idle = append(p.idle, k)
		if len(p.idle) == 1 {
			p.arm()
		}
	}
	p.mu.Unlock()
	if !keep {
		_ = k.Close()
	}
}

// arm starts the timer for closing old sockets. The caller holds mu.
func (p *pool) arm() {
	if p.sweep == nil {
		p.sweep = time.AfterFunc(sweepEvery, p.closeOld)
		return
	}
	p.sweep.Reset(sweepEvery)
}

// closeOld closes the sockets that are too old, and goes on doing so while there are idle sockets.
func (p *pool) closeOld() {
	p.mu.Lock()
	var old []*socket
	p.idle = slices.DeleteFunc(p.idle, func(k *socket) bool {
		if p.now()-k.opened < maxAge {
			return false
		}
		old = append(old, k)
		return true
	})
	if len(p.idle) > 0 {
		p.arm()
	}
	p.mu.Unlock()
	for _, k := range old {
		_ = k.Close()
	}
}

// spare closes one idle socket, because a descriptor is needed. It returns false if no socket is
// idle.
func (p *pool) spare() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return false
	}
	_ = p.idle[0].Close()
	p.idle = slices.Delete(p.idle, 0, 1)
	return true
}

// close closes all idle sockets. A socket that is returned later is closed at once.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for p.spare() {
	}
}
