package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
)

// maxReserved is how many descriptors are kept for sockets to DNS servers: MTAs may
// have taken all others, and their messages are judged by what DNS says. A few
// queries at a time go on.
const maxReserved = 8

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// spare is a dialer with descriptors in reserve. One is freed only where there
// is no other: until then it would be taken by the next MTA.
type reserve struct {
	next dialer

	mu     sync.Mutex
	fds    []int
	closed bool
}

func newReserve(next dialer) *reserve {
	s := &reserve{next: next}
	s.refill()
	return s
}

func (s *reserve) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := s.next(ctx, network, addr)
	for errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		if !s.free() {
			return nil, err
		}
		if conn, err = s.next(ctx, network, addr); err == nil {
			return &lent{Conn: conn, from: s}, nil
		}
	}
	return conn, err
}

// free gives a descriptor back to the process.
func (s *reserve) free() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fds) == 0 {
		return false
	}
	_ = syscall.Close(s.fds[len(s.fds)-1])
	s.fds = s.fds[:len(s.fds)-1]
	return true
}

// refill takes as many as it can.
func (s *reserve) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && len(s.fds) < maxReserved {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return // there are none, or no such file: then there is no reserve
		}
		s.fds = append(s.fds, fd)
	}
}

func (s *reserve) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, fd := range s.fds {
		_ = syscall.Close(fd)
	}
	s.fds = nil
}

// lent is a connection whose descriptor goes back into the reserve.
type lent struct {
	net.Conn
	from *reserve
}

// Close implements net.Conn.
func (l *lent) Close() error {
	err := l.Conn.Close()
	l.from.refill()
	return err
}
