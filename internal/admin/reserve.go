package admin

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// maxReserved is how many file descriptors are kept for clients of the admin address.
// When MTAs have taken all others, an operator will want to look at the daemon.
const maxReserved = 4

// reserveWait is how long, in milliseconds, Accept waits for a client before it tries
// the ordinary accept again.
const reserveWait = 500

// reserve is a listener that holds some file descriptors in reserve. On Linux accept
// fails without a free descriptor even if no client connects. A descriptor is therefore
// freed only when a client waits; otherwise the next MTA would take it.
type reserve struct {
	*net.TCPListener
	epoll int // reports that a client waits

	mu     sync.Mutex
	spare  []int
	closed bool
}

func newReserve(l *net.TCPListener) (*reserve, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	r := &reserve{TCPListener: l, epoll: epoll}
	raw, err := l.SyscallConn()
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) {
			failed = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
		})
		err = errors.Join(err, failed)
	}
	if err != nil {
		_ = syscall.Close(epoll)
		return nil, err
	}
	r.refill()
	return r, nil
}

// Accept implements net.Listener.
func (r *reserve) Accept() (net.Conn, error) {
	for {
		r.refill()
		c, err := r.TCPListener.Accept()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			if !r.awaited() {
				continue
			}
			if !r.free() {
				return nil, err // http.Server waits a while
			}
			c, err = r.TCPListener.Accept()
		}
		if err != nil {
			return nil, err
		}
		return &lent{c, r}, nil
	}
}

// awaited waits up to reserveWait. It reports true if a client waits or the listener is
// closed.
func (r *reserve) awaited() bool {
	var events [1]syscall.EpollEvent
	r.mu.Lock()
	epoll, closed := r.epoll, r.closed
	r.mu.Unlock()
	if closed {
		return true
	}
	n, err := syscall.EpollWait(epoll, events[:], reserveWait)
	return n > 0 || err != nil && !errors.Is(err, syscall.EINTR)
}

// free closes one reserved descriptor, so that accept can use it. It reports false if
// none is left.
func (r *reserve) free() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spare) == 0 {
		return false
	}
	_ = syscall.Close(r.spare[len(r.spare)-1])
	r.spare = r.spare[:len(r.spare)-1]
	return true
}

// refill reserves descriptors until maxReserved is reached or none is free.
func (r *reserve) refill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed && len(r.spare) < maxReserved {
		fd, err := syscall.Dup(r.epoll)
		if err != nil {
			return
		}
		syscall.CloseOnExec(fd)
		r.spare = append(r.spare, fd)
	}
}

// Close implements net.Listener.
func (r *reserve) Close() error {
	err := r.TCPListener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		for _, fd := range append(r.spare, r.epoll) {
			_ = syscall.Close(fd)
		}
		r.spare = nil
	}
	return err
}

// lent is a connection that refills the reserve when it is closed.
type lent struct {
	net.Conn
	r *reserve
}

// Close implements net.Conn.
func (l *lent) Close() error {
	err := l.Conn.Close()
	l.r.refill()
	return err
}
