package milter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/wire"
)

// TestObserverMayBeEmpty checks that a server without an Observer counts nothing and goes on.
func TestObserverMayBeEmpty(t *testing.T) {
	var o Observer
	o.sessionStarted()
	o.sessionEnded(EndQuit)
	o.sessionRejected(ReasonMemory)
	o.protocolError("")
	o.oversize(OversizeMemory)
	o.panicked("", nil)
	// Each function is called with what it gets.
	var got []string
	note := func(args ...any) { got = append(got, fmt.Sprint(args...)) }
	o = Observer{
		SessionStarted: func() { note("started") }, SessionEnded: func(e End) { note(e) }, SessionRejected: func(r RejectReason) { note(r) },
		ProtocolError: func(k ErrorKind) { note(k) }, Oversize: func(what string) { note(what) }, Panic: func(c string, s []byte) { note(c, string(s)) },
	}
	o.sessionStarted()
	o.sessionEnded(EndQuit)
	o.sessionRejected(ReasonMemory)
	o.protocolError("kind")
	o.oversize(OversizeEnvelope)
	o.panicked("here", []byte("stack"))
	if want := "started quit memory kind envelope_bytes herestack"; strings.Join(got, " ") != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestDefaults checks that each limit that is not set takes its own default, and that each that is set stays.
func TestDefaults(t *testing.T) {
	want := Limits{
		IdleTimeout: DefaultIdleTimeout, TransferTimeout: DefaultTransferTimeout, FrameTimeout: DefaultFrameTimeout, WriteTimeout: DefaultWriteTimeout,
		ProgressInterval: DefaultProgressInterval, EndOfMessageTimeout: DefaultEndOfMessageTimeout,
		MaxHeaderFields: DefaultMaxHeaderFields, MaxHeaderBytes: DefaultMaxHeaderBytes, MaxFieldBytes: DefaultMaxFieldBytes,
		MaxRecipients: DefaultMaxRecipients, MaxEnvelopeBytes: DefaultMaxEnvelopeBytes, MaxMacroBytes: DefaultMaxMacroBytes,
		MaxFrame: DefaultMaxFrame, MaxSessions: DefaultMaxSessions,
	}
	for set, expected := range map[int64]func(byDefault int64) int64{
		-1: func(d int64) int64 { return d }, 0: func(d int64) int64 { return d }, 1: func(int64) int64 { return 1 },
	} {
		var l Limits
		v := reflect.ValueOf(&l).Elem()
		for i := range v.NumField() {
			v.Field(i).SetInt(set)
		}
		l.Memory = 0 // has no default
		got := reflect.ValueOf(l.withDefaults())
		for i := range got.NumField() {
			name := got.Type().Field(i).Name
			if d := reflect.ValueOf(want).Field(i).Int(); name != "Memory" && got.Field(i).Int() != expected(d) {
				t.Errorf("%s set to %d: %d", name, set, got.Field(i).Int())
			}
		}
	}
	for frame, want := range map[int]int{DefaultMaxFrame - 1: DefaultMaxFrame - 1, DefaultMaxFrame + 1: DefaultMaxFrame} {
		if got := (Limits{MaxFrame: frame}).withDefaults().MaxFrame; got != want {
			t.Errorf("MaxFrame %d becomes %d", frame, got)
		}
	}
	if got := (Limits{Memory: 7}).withDefaults().Memory; got != 7 {
		t.Errorf("Memory 7 becomes %d", got)
	}
}

// timeout is a network error that is a timeout or not.
type timeout bool

func (timeout) Error() string   { return "test" }
func (t timeout) Timeout() bool { return bool(t) }
func (timeout) Temporary() bool { return true }

// TestTransient has each error after which accepting goes on, and some after which it does not.
func TestTransient(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.ENOBUFS: true, syscall.ENOMEM: true, syscall.ECONNABORTED: true, syscall.EINTR: true,
		syscall.EPROTO: true, timeout(true): true,
		syscall.EBADF: false, syscall.EINVAL: false, net.ErrClosed: false, io.EOF: false, timeout(false): false,
	} {
		if got := transient(&net.OpError{Op: "accept", Err: err}); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}

// TestListenersAreForgotten checks that the server keeps no listener whose Serve has ended.
func TestListenersAreForgotten(t *testing.T) {
	s := New(Options{NewSession: func(*Conn) Session { return nil }})
	ln := &oneConn{} // has no connection: the error ends Serve
	if err := s.Serve(ln); err == nil || len(s.listeners) != 0 {
		t.Errorf("%v, %d listeners", err, len(s.listeners))
	}
}

// TestSetVersion checks that only the version of an answer to an offer is changed.
func TestSetVersion(t *testing.T) {
	for frame, want := range map[string]string{
		"":                                   "",
		"\x00\x00\x00\x0dO\x00\x00\x00":      "\x00\x00\x00\x0dO\x00\x00\x00",
		"\x00\x00\x00\x0dO\x00\x00\x00\x02":  "\x00\x00\x00\x0dO\x00\x00\x00\x06",
		"\x00\x00\x00\x0dc\x00\x00\x00\x02":  "\x00\x00\x00\x0dc\x00\x00\x00\x02",
		"\x00\x00\x00\x0dO\x00\x00\x00\x02x": "\x00\x00\x00\x0dO\x00\x00\x00\x06x",
	} {
		got := []byte(frame)
		if setVersion(got, 6); string(got) != want {
			t.Errorf("%q becomes %q", frame, got)
		}
	}
}

// TestAttendanceOfMany checks many calls that began one after another: each is attended when its own time is up.
func TestAttendanceOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{NewSession: func(*Conn) Session { return nil }})
		const calls, apart = 20, 3 * time.Millisecond
		var all []*attendant
		for range calls {
			ours, mta := net.Pipe()
			t.Cleanup(func() { _, _ = ours.Close(), mta.Close() })
			a := newAttendant(newLink(s, ours, s.settings.Load(), ""))
			s.attendance.begin(a)
			all = append(all, a)
			time.Sleep(apart)
		}
		time.Sleep(attendAfter - calls*apart) // the time of the first is up
		for i := range calls {
			synctest.Wait()
			s.attendance.mu.Lock()
			left := len(s.attendance.calls)
			s.attendance.mu.Unlock()
			if left != calls-1-i {
				t.Fatalf("%d calls are not attended when the time of %d is up", left, i+1)
			}
			time.Sleep(apart)
		}
		for _, a := range all {
			a.end()
			if context.Cause(&a.ctx) != nil {
				t.Error("the call was cancelled")
			}
		}
	})
}

// failsOnce is a connection whose first write fails.
type failsOnce struct {
	net.Conn
	failed bool
}

func (f *failsOnce) Write(p []byte) (int, error) {
	if !f.failed {
		f.failed = true
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// TestEditsNotSent checks that edits of which a part could not be sent are an error, even if the rest can be sent.
func TestEditsNotSent(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	tr := wire.NewTransport(&failsOnce{Conn: near}, &wire.Limits{WriteTimeout: time.Minute}, &wire.Buffers{})
	m := &Modifier{sets: []deleteSet{{name: "X", count: maxUnsent, doomed: func(int) bool { return true }}}}
	if err := m.write(tr); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}

// TestRepliesToRcpt checks that the terms say whether the MTA waits for a reply to RCPT.
func TestRepliesToRcpt(t *testing.T) {
	for _, silent := range []bool{false, true} {
		c := &Conn{}
		if silent {
			c.terms.Protocol = gomilter.OptNoRcptReply
		}
		if c.RepliesToRcpt() == silent {
			t.Errorf("silent %t", silent)
		}
	}
}
