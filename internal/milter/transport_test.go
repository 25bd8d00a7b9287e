package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A length alone must not cost memory: 10,000 connections that each announce
// 1 MiB would be 10 GiB.
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
		{"all", DefaultMaxFrame + 4, 2 * DefaultMaxFrame, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			limits := Limits{}.withDefaults()
			tr := newTransport(ours, &limits, &buffers{})
			result := make(chan error, 1)
			go func() {
				_, data, err := tr.readFrame(time.Minute, false)
				for _, c := range data {
					if c != 'x' {
						t.Errorf("%s: %q in the frame", tc.why, c)
						break
					}
				}
				result <- err
			}()
			frame := append(binary.BigEndian.AppendUint32(nil, DefaultMaxFrame), cmdBody)
			frame = append(frame, bytes.Repeat([]byte("x"), DefaultMaxFrame-1)...)
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

// TestIdleHoldsNoBuffer: neither on a socket, which can be asked whether there
// is something to read, nor after a message larger than the largest buffer.
func TestIdleHoldsNoBuffer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	theirs, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	limits := Limits{}.withDefaults()
	tr := newTransport(ours, &limits, &buffers{})
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
			head := append(binary.BigEndian.AppendUint32(nil, uint32(n+1)), cmdBody)
			_, _ = theirs.Write(append(head, bytes.Repeat([]byte("x"), n)...))
		}()
		if _, data, err := tr.readFrame(time.Minute, false); err != nil || len(data) != n {
			t.Fatalf("%d octets of %d: %v", len(data), n, err)
		}
	}
	if _, _, err := tr.readFrame(time.Millisecond, false); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if tr.in != nil || waits == 0 {
		t.Errorf("after %d waits %d octets are kept", waits, cap(tr.in.b))
	}
	if tr.size != len(bufferSizes)-1 {
		t.Error("the next part of the body would begin small")
	}
	if tr.shrink(); tr.size != 0 {
		t.Error("the next message would begin big")
	}
}

// TestFramesAcrossBuffers: frames of every size survive the ends of buffers.
func TestFramesAcrossBuffers(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	limits := Limits{}.withDefaults()
	tr := newTransport(ours, &limits, &buffers{})
	sizes := []int{0, 1, 8183, 8187, 8188, 0, 3, 24571, 24572, 65535, 65535, 65535, 73724, 100000, 4, 65535, 1}
	go func() {
		defer theirs.Close()
		var all []byte
		for i, n := range sizes {
			all = append(binary.BigEndian.AppendUint32(all, uint32(n+1)), cmdBody)
			all = append(all, bytes.Repeat([]byte{byte(i)}, n)...)
		}
		_, _ = theirs.Write(all)
	}()
	for i, n := range sizes {
		cmd, data, err := tr.readFrame(time.Minute, false)
		if err != nil || cmd != cmdBody || !bytes.Equal(data, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("frame %d: %c, %d octets of %d, %v", i, cmd, len(data), n, err)
		}
	}
	if _, _, err := tr.readFrame(time.Minute, false); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestMacrosOfOneStage(t *testing.T) {
	m := macros{limit: 100}
	add := func(frame string) {
		t.Helper()
		if err := m.add([]byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	add("C{j}\x00mx\x00v\x00Postfix\x00")
	add("Ri\x00id\x00{rcpt_addr}\x00a\x00")
	add("R{rcpt_host}\x00host\x00") // two frames for one event add up
	if m.get("i") != "id" || m.get("{i}") != "id" || m.get("rcpt_addr") != "a" || m.get("{rcpt_host}") != "host" {
		t.Error(m)
	}
	m.event('R')
	add("Ri\x00id\x00") // the next recipient has no {rcpt_addr} of its own
	if m.get("{rcpt_addr}") != "" {
		t.Error("a macro of another recipient:", m.get("{rcpt_addr}"))
	}
	add("Rj\x00later\x00")
	if m.get("j") != "later" {
		t.Error("the later stage does not win:", m.get("j"))
	}
	add("Ux\x00y\x00") // no stage of ours
	if m.get("x") != "" {
		t.Error("kept")
	}
	m.endMessage()
	if m.get("j") != "mx" || m.get("i") != "" {
		t.Error("after the message:", m)
	}
	for range 100 { // what was replaced or repeated is not counted
		add("Mi\x000123456789\x00")
		add("Ri\x000\x00")
		m.event('R')
	}
	if m.bytes != len("{j}_mx_v_Postfix_")+len("i_0123456789_")+len("i_0_") {
		t.Error(m.bytes)
	}
	m.endMessage()
	add("Mab\x00x\x00")
	add("Mb\x00x\x00") // the end of the frame before, but no macro of it
	add("Mab\x00y\x00")
	if m.get("b") != "x" || m.get("ab") != "y" {
		t.Error("the last word does not count:", m.get("b"), m.get("ab"))
	}
}

// TestMacrosCostNothing: a message's macros take the memory of the last one's.
func TestMacrosCostNothing(t *testing.T) {
	m := macros{limit: 1000}
	stage := func(frame string) {
		if err := m.add([]byte(frame)); err != nil {
			t.Error(err)
		}
		m.event(frame[0])
	}
	message := func() {
		for _, frame := range []string{"M{mail_addr}\x00a@example.com\x00", "Ri\x00id\x00", "Li\x00id\x00", "Li\x00id\x00", "Ei\x00id\x00"} {
			stage(frame)
		}
		m.endMessage()
	}
	message()
	if n := testing.AllocsPerRun(100, message); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
	stage("M{mail_addr}\x00" + strings.Repeat("x", 900) + "\x00")
	m.endMessage()
	if n := cap(m.stages[firstMessageStage].pairs); n > keptMacros {
		t.Errorf("%d octets kept", n)
	}
}

// TestGoMilterIsShownWholeFrames: a length, then that many octets.
func TestGoMilterIsShownWholeFrames(t *testing.T) {
	s := &shim{event: cmdEndOfBody}
	var frame [5]byte
	if _, err := io.ReadFull(s, frame[:4]); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(frame[4:]); n != 1 || err != nil || string(frame[:]) != "\x00\x00\x00\x01E" {
		t.Errorf("%q, %d, %v", frame, n, err)
	}
}

// TestFlushWaits: what the socket does not take at once is written when the MTA
// reads, and an MTA that never does is given up.
func TestFlushWaits(t *testing.T) {
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	mta, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mta.Close()
	ours, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	limits := Limits{}.withDefaults()
	tr := newTransport(ours, &limits, &buffers{})
	much := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // more than a socket takes
	result := make(chan error, 1)
	for _, sent := range [][]byte{[]byte("little"), much, []byte("little again")} {
		tr.write(sent)
		go func() { result <- tr.flush() }()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(mta, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d octets came otherwise: %v", len(sent), err)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	limits.WriteTimeout = time.Nanosecond
	tr.write(much)
	if err := tr.flush(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("nobody reads:", err)
	}
	_ = ours.Close()
	tr.write(much)
	if err := tr.flush(); !errors.Is(err, net.ErrClosed) {
		t.Error("closed:", err)
	}
}
