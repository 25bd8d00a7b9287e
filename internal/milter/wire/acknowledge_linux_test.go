package wire

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestAcknowledgesWhileWaiting checks that the kernel does not delay its acknowledgements while the
// transport waits for a frame, although it did before.
func TestAcknowledgesWhileWaiting(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	mta, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mta.Close()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	tr := NewTransport(nc, &Limits{MaxFrame: 100, FrameTimeout: time.Minute}, &Buffers{})
	control(t, nc, func(fd int) error { return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 0) })
	if quick(t, nc) {
		t.Fatal("the kernel does not delay its acknowledgements before")
	}
	if _, _, err := tr.ReadFrame(time.Millisecond, false); !os.IsTimeout(err) {
		t.Fatalf("error %v, want a timeout", err)
	}
	if !quick(t, nc) {
		t.Error("the kernel delays its acknowledgements while the transport waits")
	}
}

// quick reports whether the kernel acknowledges at once what comes on nc.
func quick(t *testing.T, nc net.Conn) bool {
	t.Helper()
	v := 0
	control(t, nc, func(fd int) (err error) {
		v, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_QUICKACK)
		return err
	})
	return v != 0
}

func control(t *testing.T, nc net.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}
