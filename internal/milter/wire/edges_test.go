package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSocketsEnd does what TestCutFrames does, with the sockets that the daemon uses: the transport reads their
// descriptors itself.
func TestSocketsEnd(t *testing.T) {
	whole := frame(CmdHelo, "h.example\x00")
	for _, network := range []string{"tcp", "unix"} {
		for n := range len(whole) + 1 {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = t.TempDir() + "/s"
			}
			mta, ours := connected(t, network, address)
			tr := NewTransport(ours, &plenty, &Buffers{})
			_, _ = mta.Write(whole[:n])
			_ = mta.Close()
			cmd, data, err := tr.ReadFrame(time.Minute, false)
			if n < len(whole) {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s, %d of %d octets: %c %q, %v", network, n, len(whole), cmd, data, err)
				}
				continue
			}
			if err != nil || cmd != CmdHelo || string(data) != "h.example\x00" {
				t.Errorf("%s: %c %q, %v", network, cmd, data, err)
			}
			if _, _, err := tr.ReadFrame(time.Minute, false); !errors.Is(err, io.EOF) {
				t.Errorf("%s, after the frame: %v", network, err)
			}
		}
	}
}

// TestLengthAlone checks that a frame whose length has come, but not its command, is cut, and not too long: the
// octets that were in the buffer before are not taken for its command.
func TestLengthAlone(t *testing.T) {
	tr, mta := pipe(t)
	go func() {
		_, _ = mta.Write(frame(CmdHelo, strings.Repeat("x", 100)))
		_, _ = mta.Write([]byte{0, 0x0f, 0, 0}) // allowed only for a header or a body
		_ = mta.Close()
	}()
	if _, _, err := tr.ReadFrame(time.Minute, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tr.ReadFrame(time.Minute, false); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want EOF", err)
	}
}

// TestForcedAlready checks that Force also ends the wait for the rest of a frame that has begun, and the watch of
// an MTA that has not gone.
func TestForcedAlready(t *testing.T) {
	piped(t, func(t *testing.T, tr *Transport, mta net.Conn) {
		two := append(frame(CmdHelo, "h\x00"), frame(CmdHelo, "h\x00")[:6]...) // the second is not whole
		go func() { _, _ = mta.Write(two) }()
		if _, _, err := tr.ReadFrame(time.Minute, false); err != nil {
			t.Fatal(err)
		}
		tr.Force()
		begin := time.Now()
		if _, _, err := tr.ReadFrame(time.Minute, false); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 0 {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
	piped(t, func(t *testing.T, tr *Transport, _ net.Conn) {
		tr.Force()
		gone := false
		stop := tr.Watch(func() { gone = true })
		synctest.Wait()
		if stop(); gone {
			t.Error("an MTA counts as gone because of Force")
		}
	})
}

// TestFlushNothing checks that nothing is sent where there is nothing to send.
func TestFlushNothing(t *testing.T) {
	mta, ours := connected(t, "tcp", "127.0.0.1:0")
	tr := NewTransport(ours, &plenty, &Buffers{})
	for range 2 {
		if err := tr.Flush(); err != nil {
			t.Error(err)
		}
	}
	tr.Append([]byte("x"))
	for range 2 {
		if err := tr.Flush(); err != nil {
			t.Error(err)
		}
	}
	tr.Close()
	if got, err := io.ReadAll(mta); string(got) != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFlushAtOnce checks that a write for which the socket has room needs no time at all.
func TestFlushAtOnce(t *testing.T) {
	mta, ours := connected(t, "tcp", "127.0.0.1:0")
	limits := plenty
	limits.WriteTimeout = -time.Second
	tr := NewTransport(ours, &limits, &Buffers{})
	tr.Append([]byte("little"))
	if err := tr.Flush(); err != nil {
		t.Error(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(mta, got); err != nil || string(got) != "little" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestMacrosOfAStage has frames of macros at their edges: one without macros, one that comes again, and one for a
// command that has no stage.
func TestMacrosOfAStage(t *testing.T) {
	for _, stage := range macroStages {
		m := Macros{Limit: 4}
		for _, frame := range []string{string(stage), string(stage) + "a\x00b\x00", string(stage) + "a\x00b\x00", string(stage)} {
			if err := m.Add([]byte(frame)); err != nil {
				t.Errorf("%q: %v", frame, err)
			}
		}
		if got := m.Get("a"); got != "b" || m.bytes != 4 {
			t.Errorf("stage %c: %q, %d octets", stage, got, m.bytes)
		}
		var malformed Malformed
		if err := m.Add([]byte(string(stage) + "c\x00\x00")); !errors.As(err, &malformed) || malformed.Kind != KindMacrosTooLarge {
			t.Errorf("stage %c: %v for more than the limit", stage, err)
		}
	}
	m := Macros{Limit: 4}
	for _, stage := range "AQKUOD?" {
		if err := m.Add([]byte(string(stage) + "a\x00" + strings.Repeat("b", 10) + "\x00")); err != nil || m.Get("a") != "" {
			t.Errorf("%c: %v, %q", stage, err, m.Get("a"))
		}
	}
}

// TestMacrosOfWhichMessage checks which macros for MAIL belong to the message that a second MAIL begins: those that
// came directly before it, whatever came in the message before.
func TestMacrosOfWhichMessage(t *testing.T) {
	for _, tt := range []struct {
		why    string
		events string // a space stands for the macro, a letter for the event of that command; the last event begins the message
		want   string
	}{
		{"before the first MAIL", " M", "x"},
		{"directly before", "MR M", "x"},
		{"directly before, and before the first", " MR M", "x"},
		{"with the recipient of the message before", "M RM", ""},
		{"the same, and before the first", " M RM", ""},
		{"with the header of the message before", "MR LM", ""},
		{"twice in the message before", "M R LM", ""},
		{"in the message before, and directly before", "M RL M", "x"},
		{"before the first only", " MRM", ""},
	} {
		m := Macros{Limit: 100}
		for i, c := range tt.events {
			if c == ' ' {
				if err := m.Add([]byte("Mi\x00x\x00")); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if i == len(tt.events)-1 {
				m.EndMessage(byte(c))
			}
			m.Event(byte(c))
		}
		if got := m.Get("i"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

// TestLargeBuffersAreNotKept checks that a buffer which had to grow beyond the largest size is not used again.
func TestLargeBuffersAreNotKept(t *testing.T) {
	var b Buffers
	last := len(bufferSizes) - 1
	large := b.grow(bufferSizes[last])
	if len(large.b) != 2*bufferSizes[last] {
		t.Fatalf("%d octets", len(large.b))
	}
	b.put(large)
	if got := b.get(last); got == large || cap(got.b) != bufferSizes[last] {
		t.Errorf("a buffer of %d octets is used again", cap(got.b))
	}
	for i, size := range bufferSizes {
		if got := b.grow(size - 1); len(got.b) != size || got.size != i {
			t.Errorf("more than %d octets: %d", size-1, len(got.b))
		}
	}
}
