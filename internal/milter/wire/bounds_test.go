package wire

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

// frame is what an MTA sends for an event.
func frame(cmd byte, data string) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(data)+1)), cmd), data...)
}

// pipe returns a transport, and the MTA's end of its connection.
func pipe(t *testing.T) (tr *Transport, mta net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	limits := plenty
	return NewTransport(ours, &limits, &Buffers{}), theirs
}

// TestCutFrames checks that a connection that ends in the middle of a frame is an error, wherever that is.
func TestCutFrames(t *testing.T) {
	whole := frame(CmdHelo, "h.example\x00")
	for n := range whole {
		tr, mta := pipe(t)
		go func() {
			_, _ = mta.Write(whole[:n])
			_ = mta.Close()
		}()
		if _, data, err := tr.ReadFrame(time.Minute, false); !errors.Is(err, io.EOF) {
			t.Errorf("%d of %d octets: %q, %v", n, len(whole), data, err)
		}
	}
}

// TestFrameLimits checks which frames may be long, at the edge of each limit.
func TestFrameLimits(t *testing.T) {
	for _, tt := range []struct {
		cmd  byte
		most int // octets with the command
		cut  bool
	}{
		{CmdHelo, maxCommandFrame, false}, {CmdMail, maxCommandFrame, false}, {CmdMacro, maxCommandFrame, false},
		{CmdBody, plenty.MaxFrame, false}, {CmdEndOfBody, plenty.MaxFrame, false}, {CmdHeader, plenty.MaxFrame, true},
	} {
		for _, over := range []bool{false, true} {
			size := tt.most - 1
			if over {
				size++
			}
			tr, mta := pipe(t)
			go func() { _, _ = mta.Write(frame(tt.cmd, strings.Repeat("x", size))) }()
			cmd, data, err := tr.ReadFrame(time.Minute, false)
			switch {
			case !over && (err != nil || cmd != tt.cmd || len(data) != size || tr.Cut()):
				t.Errorf("%c with %d octets: %d octets, cut %t, %v", tt.cmd, size, len(data), tr.Cut(), err)
			case over && tt.cut && (err != nil || len(data) != maxBeginning || !tr.Cut()):
				t.Errorf("%c with %d octets: %d octets, cut %t, %v", tt.cmd, size, len(data), tr.Cut(), err)
			case over && !tt.cut && !errors.Is(err, Malformed{KindFrameTooLong}):
				t.Errorf("%c with %d octets: %d octets, %v", tt.cmd, size, len(data), err)
			}
		}
	}
}

// TestHastenSparesMessages checks that a shutdown shortens the wait between two messages, and not that within one.
func TestHastenSparesMessages(t *testing.T) {
	for between, want := range map[bool]time.Duration{true: time.Second, false: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			tr, _ := pipe(t)
			tr.Hasten(time.Second)
			begin := time.Now()
			if _, _, err := tr.ReadFrame(time.Minute, between); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != want || tr.Hastened() != between {
				t.Errorf("between messages %t: after %v, hastened %t, %v", between, time.Since(begin), tr.Hastened(), err)
			}
		})
	}
}

// TestWatchLeavesWhatCame checks that an MTA that has sent the next frames already is not watched, so that what
// it sent is read although it leaves.
func TestWatchLeavesWhatCame(t *testing.T) {
	tr, mta := pipe(t)
	go func() {
		_, _ = mta.Write(append(frame(CmdEndOfBody, ""), frame(CmdQuit, "")...))
		_ = mta.Close()
	}()
	if cmd, _, err := tr.ReadFrame(time.Minute, false); err != nil || cmd != CmdEndOfBody {
		t.Fatal(cmd, err)
	}
	gone := false
	stop := tr.Watch(func() { gone = true })
	time.Sleep(time.Millisecond) // for a Watch that reads in spite of that
	if stop(); gone {
		t.Error("the MTA counts as gone")
	}
	if cmd, _, err := tr.ReadFrame(time.Minute, false); err != nil || cmd != CmdQuit {
		t.Error(cmd, err)
	}
}

// TestConnectBounds checks an event of CONNECT that ends after each octet, and addresses of every form.
func TestConnectBounds(t *testing.T) {
	whole := []byte("h.example\x004\x00\x19192.0.2.1\x00")
	for n := range whole {
		if host, _, addr, err := ParseConnect(whole[:n]); !errors.Is(err, Malformed{KindMalformedConnect}) {
			t.Errorf("%q: %q %v %v", whole[:n], host, addr, err)
		}
	}
	for text, want := range map[string]string{
		"h\x004\x00\x19192.0.2.1\x00":        "192.0.2.1:25",
		"h\x004\x00\x19192.0.2.1\x00more":    "192.0.2.1:25",
		"h\x006\x00\x192001:db8::1\x00":      "[2001:db8::1]:25",
		"h\x006\x00\x19IPv6:2001:db8::1\x00": "[2001:db8::1]:25",
		"h\x006\x00\x19ipv6:2001:db8::1\x00": "[2001:db8::1]:25",
		"h\x006\x00\x19::ffff:192.0.2.1\x00": "192.0.2.1:25",
		"h\x006\x00\x19fe80::1%eth0\x00":     "[fe80::1]:25",
		"h\x004\x00\x19\x00":                 "invalid AddrPort",
		"h\x006\x00\x19IPv6:\x00":            "invalid AddrPort",
		"h\x004\x00\x19nobody\x00":           "invalid AddrPort",
		"h\x00U":                             "invalid AddrPort",
		"\x00L\x00\x00/run/socket\x00":       "invalid AddrPort",
	} {
		if _, _, addr, err := ParseConnect([]byte(text)); err != nil || addr.String() != want {
			t.Errorf("%q: %s, %v, want %s", text, addr, err, want)
		}
	}
}

// TestMacroNames checks which braces are a part of a macro's name.
func TestMacroNames(t *testing.T) {
	for name, want := range map[string]string{
		"i": "i", "{i}": "i", "{auth_authen}": "auth_authen", "": "", "{": "{", "}": "}", "{}": "{}", "{i": "{i", "{ij": "{ij", "i}": "i}", "{{i}}": "{i}",
	} {
		if got := macroName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

// TestMacrosOfTheNextMessage checks that macros that an MTA sends for the MAIL that ends a message belong to the
// next one.
func TestMacrosOfTheNextMessage(t *testing.T) {
	for _, tt := range []struct {
		why   string
		again bool // the macro comes again before the message ends
		next  byte
		want  string
	}{
		{"MAIL, and its macros came before it", true, CmdMail, "new"},
		{"MAIL without macros", false, CmdMail, ""},
		{"ABORT", true, CmdAbort, ""},
		{"the end", true, 0, ""},
	} {
		m := Macros{Limit: 1000}
		add := func(value string) {
			if err := m.Add([]byte("Mi\x00" + value + "\x00")); err != nil {
				t.Fatal(err)
			}
		}
		add("old")
		for _, cmd := range []byte{CmdMail, CmdRcpt, CmdHeader} {
			m.Event(cmd)
		}
		if tt.again {
			add("new")
		}
		m.EndMessage(tt.next)
		if got := m.Get("{i}"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}

// TestHeaderStartBounds checks how much of a long field is returned.
func TestHeaderStartBounds(t *testing.T) {
	data := []byte(strings.Repeat("n", 10) + "\x00" + strings.Repeat("v", 10) + "\x00")
	for limit, want := range map[int]int{9: 9, 10: 10, 11: 10} {
		name, start, err := ParseHeaderStart(data, true, limit)
		if err != nil || len(name) != want || len(start) != want {
			t.Errorf("limit %d: %q %q %v", limit, name, start, err)
		}
	}
	for n := range data {
		if _, _, err := ParseHeader(data[:n], true); err == nil {
			t.Errorf("%q was read", data[:n])
		}
	}
	if _, value, err := ParseHeader([]byte("A\x00a\nb\r\n\nc\x00"), false); err != nil || value != " a\r\nb\r\n\r\nc" {
		t.Errorf("%q, %v", value, err)
	}
	if !bytes.Equal(data[:1], []byte("n")) {
		t.Error("the data changed")
	}
}
