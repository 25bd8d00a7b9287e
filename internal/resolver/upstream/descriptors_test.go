package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

// TestReserve: if no descriptor is free, a query takes one from the reserve, and returns it when
// its socket is closed.
func TestReserve(t *testing.T) {
	for _, full := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} { // of the process, and of the system
		t.Run(full.Error(), func(t *testing.T) { testReserve(t, full) })
	}
}

func testReserve(t *testing.T, full syscall.Errno) {
	free, dialed := 0, 0 // descriptors that the rest of the process leaves free; calls of the dialer
	var s *reserve
	s = newReserve(func(context.Context, string, string) (net.Conn, error) {
		dialed++
		if free+maxReserved-len(s.fds) <= 0 {
			return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", full)}
		}
		free--
		client, server := net.Pipe()
		t.Cleanup(func() { server.Close() })
		return client, nil
	}, func() bool { return false })
	if len(s.fds) != maxReserved {
		t.Fatalf("%d descriptors in reserve", len(s.fds))
	}
	var conns []net.Conn
	for range maxReserved {
		c, err := s.dial(t.Context(), "udp", "192.0.2.1:53")
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if _, err := s.dial(t.Context(), "udp", "192.0.2.1:53"); !errors.Is(err, full) || len(s.fds) != 0 {
		t.Errorf("with nothing left: %v, %d in reserve", err, len(s.fds))
	}
	for _, c := range conns {
		c.Close()
	}
	if len(s.fds) != maxReserved {
		t.Errorf("%d came back", len(s.fds))
	}
	free, dialed = 1, 0
	c, err := s.dial(t.Context(), "udp", "192.0.2.1:53")
	if _, wrapped := c.(*lent); err != nil || wrapped || dialed != 1 || len(s.fds) != maxReserved {
		t.Errorf("an ordinary socket: %v, lent %v, dialed %d times", err, wrapped, dialed)
	}
	free, dialed = 0, 0
	idle := 1
	s.spare = func() bool {
		if idle == 0 {
			return false
		}
		idle--
		free++
		return true
	}
	c, err = s.dial(t.Context(), "udp", "192.0.2.1:53")
	if _, wrapped := c.(*lent); err != nil || wrapped || idle != 0 || len(s.fds) != maxReserved {
		t.Errorf("with an idle socket: %v, lent %v, %d idle, %d in reserve", err, wrapped, idle, len(s.fds))
	}
	free, dialed = -maxReserved, 0 // the rest of the process takes each descriptor that becomes free
	if c, err := s.dial(t.Context(), "udp", "192.0.2.1:53"); !errors.Is(err, full) || c != nil || dialed != 1+maxReserved {
		t.Errorf("nothing is left: %v, dialed %d times", err, dialed)
	}
	s.close()
	s.refill()
	if len(s.fds) != 0 {
		t.Error("descriptors are kept after the end")
	}
}

// TestReserveOtherErrors: what fails otherwise takes nothing from the reserve, and is told.
func TestReserveOtherErrors(t *testing.T) {
	s := newReserve(func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EPERM)}
	}, func() bool { panic("a socket is closed") })
	defer s.close()
	if c, err := s.dial(t.Context(), "udp", "192.0.2.1:53"); c != nil || !errors.Is(err, syscall.EPERM) || len(s.fds) != maxReserved {
		t.Errorf("%v, %v, %d in reserve", c, err, len(s.fds))
	}
}

// TestReserveWithoutDescriptors: if no descriptor is free at all, the reserve stays empty, and is filled later.
func TestReserveWithoutDescriptors(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	s := newReserve(nil, nil)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if len(s.fds) != 0 || s.free() {
		t.Errorf("%d descriptors in reserve", len(s.fds))
	}
	if s.refill(); len(s.fds) != maxReserved {
		t.Errorf("later %d descriptors", len(s.fds))
	}
	s.close()
}
