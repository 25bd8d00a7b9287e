package milter

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A length alone must not cost memory: 10,000 connections that each announce
// 1 MiB would be 10 GiB.
func TestMemoryGrowsWithWhatArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		tr := newTransport(ours, Limits{}.withDefaults())
		result := make(chan error, 1)
		go func() {
			_, _, err := tr.readFrame(time.Minute)
			result <- err
		}()
		head := append(binary.BigEndian.AppendUint32(nil, DefaultMaxFrame), cmdBody)
		if _, err := theirs.Write(head); err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = theirs.Close()
		if err := <-result; !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if got := cap(tr.frame); got == 0 || got > firstGrowth {
			t.Errorf("%d octets kept for 100", got)
		}
	})
}

func TestReleaseDropsABigFrame(t *testing.T) {
	tr := newTransport(nil, Limits{}.withDefaults())
	tr.frame, tr.out = make([]byte, 100000), make([]byte, 0, 100000)
	tr.release()
	if tr.frame != nil || tr.out != nil {
		t.Error("kept between messages")
	}
	tr.frame = make([]byte, 100)
	tr.release()
	if tr.frame == nil {
		t.Error("a small one is worth keeping")
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
	for range 100 { // what was replaced is not counted
		add("Mi\x000123456789\x00")
	}
	if m.bytes != len("jmx")+len("vPostfix")+len("i0123456789") {
		t.Error(m.bytes)
	}
}

func TestTokensAreWholeFrames(t *testing.T) {
	for _, cmd := range []byte("OCHMRTULNBEAK") {
		got := token(cmd)
		if n := binary.BigEndian.Uint32(got); int(n) != len(got)-4 {
			t.Errorf("%c: %q", cmd, got)
		}
	}
}
