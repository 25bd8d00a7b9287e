package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// plenty are the default limits of package milter.
var plenty = Limits{MaxFrame: 1 << 20, FrameTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}

// TestMemoryGrowsWithWhatArrives checks that the transport allocates memory for a frame only as
// the octets of the frame come. Otherwise 10,000 connections that each announce a frame of 1 MiB
// would need 10 GiB.
func TestMemoryGrowsWithWhatArrives(t *testing.T) {
	for _, tc := range []struct {
		why      string
		arrives  int
		allowed  int
		received bool
	}{
		{"a length", 100, bufferSizes[0], false},
		{"as much as the first buffer holds", bufferSizes[0], bufferSizes[1], false},
		{"more than that", 20000, bufferSizes[1], false},
		{"more than the largest buffer", 100000, 2 * bufferSizes[2], false},
		{"all", plenty.MaxFrame + 4, 2 * plenty.MaxFrame, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			limits := plenty
			tr := NewTransport(ours, &limits, &Buffers{})
			result := make(chan error, 1)
			go func() {
				_, data, err := tr.ReadFrame(time.Minute, false)
				for _, c := range data {
					if c != 'x' {
						t.Errorf("%s: %q in the frame", tc.why, c)
						break
					}
				}
				result <- err
			}()
			frame := append(binary.BigEndian.AppendUint32(nil, uint32(plenty.MaxFrame)), CmdBody)
			frame = append(frame, bytes.Repeat([]byte("x"), plenty.MaxFrame-1)...)
			if _, err := theirs.Write(frame[:tc.arrives]); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			_ = theirs.Close()
			if err := <-result; tc.received != (err == nil) || err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("%s: %v", tc.why, err)
			}
			if got := cap(tr.in.b); got > tc.allowed {
				t.Errorf("%s: %d octets held for %d", tc.why, got, tc.arrives)
			}
		})
	}
}

// connected returns the two ends of a connection that lasts until the test ends.
func connected(t *testing.T, network, address string) (theirs, ours net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if theirs, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return theirs, ours
}

// TestIdleHoldsNoBuffer checks that a transport which waits for a frame holds no buffer, even
// after a frame that was larger than the largest buffer.
func TestIdleHoldsNoBuffer(t *testing.T) {
	theirs, ours := connected(t, "tcp", "127.0.0.1:0")
	limits := plenty
	tr := NewTransport(ours, &limits, &Buffers{})
	waits := 0
	tr.try = func(fd uintptr) bool {
		if tr.tryRead(fd) {
			return true
		}
		if waits++; tr.in != nil && tr.r == tr.w {
			t.Error("waits with a buffer")
		}
		return false
	}
	for _, n := range []int{1, 100, 20000, 65535, 200000, 3} {
		go func() {
			head := append(binary.BigEndian.AppendUint32(nil, uint32(n+1)), CmdBody)
			_, _ = theirs.Write(append(head, bytes.Repeat([]byte("x"), n)...))
		}()
		if _, data, err := tr.ReadFrame(time.Minute, false); err != nil || len(data) != n {
			t.Fatalf("%d octets of %d: %v", len(data), n, err)
		}
	}
	if _, _, err := tr.ReadFrame(time.Millisecond, false); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if tr.in != nil || waits == 0 {
		t.Errorf("after %d waits %d octets are kept", waits, cap(tr.in.b))
	}
	if tr.size != len(bufferSizes)-1 {
		t.Error("the next part of the body would begin small")
	}
	if tr.Shrink(); tr.size != 0 {
		t.Error("the next message would begin big")
	}
}

// TestFramesAcrossBuffers checks that frames of every size are read correctly, wherever in the
// frame a buffer ends.
func TestFramesAcrossBuffers(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	limits := plenty
	tr := NewTransport(ours, &limits, &Buffers{})
	sizes := []int{0, 1, 8183, 8187, 8188, 0, 3, 24571, 24572, 65535, 65535, 65535, 73724, 100000, 4, 65535, 1}
	go func() {
		defer theirs.Close()
		var all []byte
		for i, n := range sizes {
			all = append(binary.BigEndian.AppendUint32(all, uint32(n+1)), CmdBody)
			all = append(all, bytes.Repeat([]byte{byte(i)}, n)...)
		}
		_, _ = theirs.Write(all)
	}()
	for i, n := range sizes {
		cmd, data, err := tr.ReadFrame(time.Minute, false)
		if err != nil || cmd != CmdBody || !bytes.Equal(data, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("frame %d: %c, %d octets of %d, %v", i, cmd, len(data), n, err)
		}
	}
	if _, _, err := tr.ReadFrame(time.Minute, false); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestStraddlingFrames checks that a buffer does not grow because frames end in the middle of it: what was
// read of the next frame is moved to its beginning.
func TestStraddlingFrames(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	limits := plenty
	tr := NewTransport(ours, &limits, &Buffers{})
	const frames, octets = 50, 5000
	go func() {
		defer theirs.Close()
		frame := append(binary.BigEndian.AppendUint32(nil, octets+1), CmdBody)
		frame = append(frame, bytes.Repeat([]byte("x"), octets)...)
		_, _ = theirs.Write(bytes.Repeat(frame, frames))
	}()
	for i := range frames {
		_, data, err := tr.ReadFrame(time.Minute, false)
		if err != nil || len(data) != octets {
			t.Fatalf("frame %d: %d octets, %v", i, len(data), err)
		}
		if got := cap(tr.in.b); got != bufferSizes[0] {
			t.Fatalf("frame %d: the buffer has %d octets", i, got)
		}
	}
}

// TestFlushWaits checks that octets which the socket does not accept at once are written when
// the MTA reads, and that Flush returns an error if the MTA never reads.
func TestFlushWaits(t *testing.T) {
	mta, ours := connected(t, "unix", t.TempDir()+"/s")
	limits := plenty
	tr := NewTransport(ours, &limits, &Buffers{})
	much := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // more octets than a socket accepts at once
	result := make(chan error, 1)
	for _, sent := range [][]byte{[]byte("little"), much, []byte("little again")} {
		tr.Append(sent)
		go func() { result <- tr.Flush() }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(mta, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d octets were changed: %v", len(sent), err)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	limits.WriteTimeout = time.Nanosecond
	tr.Append(much)
	if err := tr.Flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the MTA does not read:", err)
	}
	_ = ours.Close()
	tr.Append(much)
	if err := tr.Flush(); !errors.Is(err, net.ErrClosed) {
		t.Error("closed:", err)
	}
}

// TestBeginningIsKept: while nothing more comes, the beginning of a frame stays in its buffer.
func TestBeginningIsKept(t *testing.T) {
	mta, nc := connected(t, "tcp", "127.0.0.1:0")
	tr := NewTransport(nc, &plenty, &Buffers{})
	if _, err := mta.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	for tr.w < 3 {
		if err := tr.fill(5); err != nil {
			t.Fatal(err)
		}
	}
	_ = tr.raw.Control(func(fd uintptr) {
		if tr.tryRead(fd) {
			t.Errorf("read more: %v", tr.err)
		}
	})
	if tr.in == nil || string(tr.in.b[tr.r:tr.w]) != "abc" {
		t.Error("the beginning is lost")
	}
}

// TestBufferSizes: each size is three times the one before, and the largest has room for the largest part of a body.
func TestBufferSizes(t *testing.T) {
	for i, size := range bufferSizes[1:] {
		if size != 3*bufferSizes[i] {
			t.Errorf("%d after %d", size, bufferSizes[i])
		}
	}
	if largest := bufferSizes[len(bufferSizes)-1]; largest <= 65535 || largest >= 2*65535 {
		t.Errorf("at most %d", largest)
	}
}
