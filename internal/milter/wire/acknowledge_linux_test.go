package wire

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestAcknowledgesWhileWaiting checks that the kernel does not delay its acknowledgements while the
// transport waits for a frame. After a few replies the kernel takes a connection for a conversation
// and delays them, so the test talks first.
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
	for range 5 {
		if _, err := mta.Write([]byte("\x00\x00\x00\x01H")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := tr.ReadFrame(time.Minute, false); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Write([]byte("\x00\x00\x00\x01c")); err != nil {
			t.Fatal(err)
		}
		if _, err := mta.Read(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	if quick(t, nc) {
		t.Skip("this kernel does not delay acknowledgements on loopback")
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
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var v int
	var got error
	if err := raw.Control(func(fd uintptr) { v, got = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK) }); err != nil || got != nil {
		t.Fatal(err, got)
	}
	return v != 0
}
