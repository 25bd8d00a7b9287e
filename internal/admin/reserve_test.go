//go:build linux

package admin

import (
	"errors"
	"net"
	"syscall"
	"testing"
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
	spare := r.spare
	r.spare = nil
	if _, err := r.Accept(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("without a reserve: %v", err)
	}
	r.spare = spare
	if err := first.Close(); err != nil || len(r.spare) != maxReserved {
		t.Errorf("after a client left: %v, %d in reserve", err, len(r.spare))
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
	if _, err := r.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
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
