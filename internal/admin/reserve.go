//go:build linux

package admin

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// maxReserved is how many file descriptors are reserved for clients of the admin address.
// With them an operator can look at the daemon even if the connections of MTAs have taken
// all other descriptors.
const maxReserved = 4

// reserveWait is the longest time, in milliseconds, that awaited waits for a client.
const reserveWait = 500

// reserve is a listener that holds some file descriptors in reserve and uses them to
// accept clients if no other descriptor is free. On Linux, accept fails at once if no
// descriptor is free, even if no client connects. Therefore reserve gives up a
// descriptor only when a client is waiting. If it gave up a descriptor earlier, a
// connection of an MTA would take that descriptor.
type reserve struct {
	*net.TCPListener
	epoll int // becomes readable when a client waits to be accepted

	mu     sync.Mutex
	spare  []int
	closed bool
}

func newReserve(l *net.TCPListener) (net.Listener, error) {
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
		if full(err) {
			if !r.awaited() {
				continue
			}
			if !r.free() {
				return nil, err // http.Server calls Accept again after a while
			}
			c, err = r.TCPListener.Accept()
		}
		if err != nil {
			return nil, err
		}
		return &lent{c, r}, nil
	}
}

// awaited waits for a client, at most reserveWait. It returns true if a client is waiting
// or the listener is closed.
func (r *reserve) awaited() bool {
	var events [1]syscall.EpollEvent
	r.mu.Lock()
	epoll, closed := r.epoll, r.closed
	r.mu.Unlock()
	if closed {
		return true
	}
	n, err := syscall.EpollWait(epoll, events[:], reserveWait)
	return came(n, err)
}

// full reports whether no descriptor is free, in the process or in the system.
func full(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

// came reports whether a client waits after n events. After an error that is not an interruption, accept says
// what is wrong.
func came(n int, err error) bool { return n > 0 || err != nil && !errors.Is(err, syscall.EINTR) }

// free closes one reserved descriptor, so that accept can use its number. It returns false
// if no reserved descriptor is left.
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

// refill reserves descriptors until there are maxReserved of them, or no descriptor is
// free.
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

// lent is an accepted connection. After it is closed, the reserve is filled up again.
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
