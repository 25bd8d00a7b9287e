//go:build linux

package admin

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReserve: when no descriptor is free, the reserve lets a client in. When the reserve is used up, Accept
// says so, and a connection that ends fills it again.
func TestReserve(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := newReserve(tcp.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	r := l.(*reserve)
	for _, fd := range append(slices.Clone(r.spare), r.epoll) { // no program that is started keeps them
		if flags, _, err := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0); err != 0 || flags&syscall.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %d, %v", fd, flags, err)
		}
	}
	if len(r.spare) != maxReserved || r.awaited() {
		t.Errorf("%d in reserve, or a client is awaited and none came", len(r.spare))
	}
	for range 2 {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	exhaust(t, r)
	first, err := r.Accept()
	if err != nil || len(r.spare) != maxReserved-1 {
		t.Fatalf("%v, %d in reserve", err, len(r.spare))
	}
	if r.refill(); len(r.spare) != maxReserved-1 {
		t.Errorf("%d in reserve, although none is free", len(r.spare))
	}
	spare := r.spare
	r.spare = nil
	if _, err := r.Accept(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("without a reserve: %v", err)
	}
	r.spare = spare
	if err := first.Close(); err != nil || len(r.spare) != maxReserved {
		t.Errorf("after a client left: %v, %d in reserve", err, len(r.spare))
	}
	if err := first.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a client that left twice: %v", err)
	}
	for left := maxReserved - 1; left >= 0; left-- {
		if !r.free() || len(r.spare) != left {
			t.Errorf("%d in reserve, want %d", len(r.spare), left)
		}
	}
	if r.free() {
		t.Error("a descriptor of an empty reserve")
	}
	if err := r.Close(); err != nil || !r.closed || !r.awaited() {
		t.Errorf("closed: %v", err)
	}
	if r.refill(); len(r.spare) != 0 {
		t.Error("a reserve of a closed listener")
	}
	if err := r.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := r.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestReserveAwaits: nothing is taken from the reserve for a client that does not come, and what lacks in it is filled up
// before the next client.
func TestReserveAwaits(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := newReserve(tcp.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := l.(*reserve)
	c, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for len(r.spare) > 0 {
		r.free()
	}
	if c, err := r.Accept(); err != nil || len(r.spare) != maxReserved {
		t.Fatalf("%v, %d in reserve", err, len(r.spare))
	} else if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	exhaust(t, r)
	if err := r.SetDeadline(time.Now().Add(reserveWait * time.Millisecond / 2)); err != nil { // it ends the second attempt
		t.Fatal(err)
	}
	if _, err := r.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) || len(r.spare) != maxReserved {
		t.Errorf("%v, %d in reserve", err, len(r.spare))
	}
}

// TestReserveClosed: a reserve that was closed uses no descriptor any more, because its number may be another's.
func TestReserveClosed(t *testing.T) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(epoll)
	r := &reserve{epoll: epoll, closed: true}
	if r.refill(); len(r.spare) != 0 || !r.awaited() {
		t.Errorf("%d in reserve, or it waits", len(r.spare))
	}
}

// TestReserveErrors has each error that says that no descriptor is free, and what a wait for a client means.
func TestReserveErrors(t *testing.T) {
	for err, want := range map[error]bool{nil: false, syscall.EMFILE: true, syscall.ENFILE: true, syscall.ECONNABORTED: false} {
		if err != nil {
			err = &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
		}
		if full(err) != want {
			t.Errorf("%v: full is %t", err, !want)
		}
	}
	for _, tt := range []struct {
		n    int
		err  error
		want bool
	}{{0, nil, false}, {1, nil, true}, {-1, syscall.EINTR, false}, {-1, syscall.EBADF, true}} {
		if came(tt.n, tt.err) != tt.want {
			t.Errorf("%d events, %v: a client waits is %t", tt.n, tt.err, !tt.want)
		}
	}
}

// TestReserveFails checks that a server that gets no descriptor for the reserve says so and leaves none open, and that
// a reserve that was closed closes none that others use.
func TestReserveFails(t *testing.T) {
	epolls := func() (n int) { // what else is open can change, as connections of earlier tests end
		for _, name := range descriptors(t) {
			if to, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(name)); strings.Contains(to, "eventpoll") {
				n++
			}
		}
		return n
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := tcp.Close(); err != nil {
		t.Fatal(err)
	}
	before := epolls()
	if l, err := newReserve(tcp.(*net.TCPListener)); l != nil || !errors.Is(err, net.ErrClosed) || epolls() != before {
		t.Errorf("a closed listener: %v, %d descriptors, before %d", err, epolls(), before)
	}
	if r := (&reserve{epoll: -1}); !r.awaited() {
		t.Error("waits without an epoll")
	}
	if tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	l, err := newReserve(tcp.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	r := l.(*reserve)
	if err := r.Close(); err != nil || epolls() != before || r.free() {
		t.Errorf("closed: %v, %d descriptors, before %d", err, epolls(), before)
	}

	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	less := limit
	less.Cur = uint64(slices.Max(descriptors(t)) + 3)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &less); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) }()
	last, err := syscall.Dup(0)
	for fd := last; err == nil; fd, err = syscall.Dup(0) {
		if fd != last {
			defer func() { _ = syscall.Close(fd) }()
		}
	}
	if err := syscall.Close(last); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the one that is free is free again after the first
		if _, err := New(Options{Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, syscall.EMFILE) || err.Error() != "admin: listen 127.0.0.1:0: too many open files" {
			t.Errorf("no descriptor for the reserve: %v", err)
		}
	}
}

// descriptors returns the open descriptors of the process.
func descriptors(t *testing.T) (all []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fd)
	}
	return all
}

// exhaust takes all descriptors of the process until the test ends, but for those that r has.
func exhaust(t *testing.T, r *reserve) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lowest := 0 // of the free descriptors, when it is above all of r
	for lowest <= r.spare[len(r.spare)-1] || lowest <= r.spare[0] {
		fd, err := syscall.Dup(r.epoll)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(fd) })
		lowest = fd
	}
	less := limit
	less.Cur = uint64(lowest + 1)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &less); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
}
