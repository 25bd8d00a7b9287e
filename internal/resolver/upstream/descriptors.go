package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
)

// maxReserved is how many file descriptors are reserved for sockets to DNS servers. Connections of
// MTAs may take all other descriptors, and their messages cannot be judged without DNS. With this
// reserve, a few queries at a time are still possible.
const maxReserved = 8

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// reserve is a dialer that keeps file descriptors in reserve. It frees a descriptor only if a
// socket cannot be opened otherwise. A descriptor that is freed earlier could be taken by the next
// connection of an MTA.
type reserve struct {
	next  dialer
	spare func() bool // closes a socket that is not needed; false if there is none

	mu     sync.Mutex
	fds    []int
	closed bool
}

func newReserve(next dialer, spare func() bool) *reserve {
	s := &reserve{next: next, spare: spare}
	s.refill()
	return s
}

func (s *reserve) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := s.next(ctx, network, addr)
	for errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		if s.spare() {
			conn, err = s.next(ctx, network, addr)
			continue
		}
		if !s.free() {
			return nil, err
		}
		if conn, err = s.next(ctx, network, addr); err == nil {
			return &lent{Conn: conn, from: s}, nil
		}
	}
	return conn, err
}

// free gives one descriptor back to the process. It returns false if the reserve is empty.
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

// refill opens descriptors until the reserve is full or no more can be opened.
func (s *reserve) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && len(s.fds) < maxReserved {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return // no descriptor is free, or the file does not exist; the reserve stays smaller
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

// lent is a connection that returns its descriptor to the reserve when it is closed.
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
