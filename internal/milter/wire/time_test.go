package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// piped runs f in a synctest bubble, with a transport and the MTA's end of its connection.
func piped(t *testing.T, f func(t *testing.T, tr *Transport, mta net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, mta := net.Pipe()
		tr := NewTransport(ours, &plenty, &Buffers{})
		defer func() {
			tr.Close()
			_ = mta.Close()
		}()
		f(t, tr, mta)
	})
}

// TestFrameBounds checks that a frame which is too long or empty is refused as soon as its
// length (and command) have come, without waiting for the rest.
func TestFrameBounds(t *testing.T) {
	for _, tc := range []struct {
		why, sent string
		kind      Kind // "": the frame is read as far as it has come
	}{
		{"no command", "\x00\x00\x00\x00", KindEmptyFrame},
		{"the longest part of a header", "\x00\x10\x00\x00L", ""},
		{"the longest part of a body", "\x00\x10\x00\x00B", ""},
		{"the longest part of a body with its end", "\x00\x10\x00\x00E", ""},
		{"an octet more of a body", "\x00\x10\x00\x01B", KindFrameTooLong},
		{"far more", "\xff\xff\xff\xffB", KindFrameTooLong},
		{"the longest field of which a part is kept", "\x04\x00\x00\x00L", ""},
		{"an octet more of a field", "\x04\x00\x00\x01L", KindFrameTooLong},
		{"the longest command", "\x00\x01\x00\x00M", ""},
		{"an octet more of a command", "\x00\x01\x00\x01M", KindFrameTooLong},
		{"macros have the limit of commands", "\x00\x01\x00\x01D", KindFrameTooLong},
		{"an unknown command has that limit too", "\x00\x01\x00\x01?", KindFrameTooLong},
	} {
		piped(t, func(t *testing.T, tr *Transport, mta net.Conn) {
			go func() { _, _ = io.WriteString(mta, tc.sent) }()
			start := time.Now()
			_, _, err := tr.ReadFrame(time.Hour, false)
			var m Malformed
			switch {
			case tc.kind == "" && (!errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != plenty.FrameTimeout):
				t.Errorf("%s: %v after %s", tc.why, err, time.Since(start))
			case tc.kind != "" && (!errors.As(err, &m) || m.Kind != tc.kind || time.Since(start) != 0):
				t.Errorf("%s: %v after %s", tc.why, err, time.Since(start))
			}
		})
	}
}

// TestReadDeadlines checks how long ReadFrame waits, and that Hastened then reports whether Hasten
// or Force limited the wait.
func TestReadDeadlines(t *testing.T) {
	const frame = "\x00\x00\x00\x02Bx"
	for _, tc := range []struct {
		why             string
		sent            string // what the MTA sends after a minute
		betweenMessages bool
		before          func(tr *Transport) // called before ReadFrame
		meanwhile       func(tr *Transport) // called a second after ReadFrame has begun
		took            time.Duration
		hastened        bool
	}{
		{why: "silence", took: time.Hour},
		{why: "silence between messages", betweenMessages: true, took: time.Hour},
		{why: "half a frame", sent: frame[:5], took: time.Minute + plenty.FrameTimeout},
		{why: "hastened before", betweenMessages: true, before: func(tr *Transport) { tr.Hasten(20 * time.Second) }, took: 20 * time.Second, hastened: true},
		{why: "hastened meanwhile", betweenMessages: true, meanwhile: func(tr *Transport) { tr.Hasten(20 * time.Second) }, took: 21 * time.Second, hastened: true},
		{why: "a frame within a message is waited for", meanwhile: func(tr *Transport) { tr.Hasten(20 * time.Second) }, took: time.Hour},
		{why: "a frame between messages that has begun has its time", betweenMessages: true, sent: frame[:5],
			before: func(tr *Transport) { tr.Hasten(2 * time.Minute) }, took: time.Minute + plenty.FrameTimeout},
		{why: "hastening does not make the wait longer", betweenMessages: true,
			before: func(tr *Transport) { tr.Hasten(2 * time.Hour) }, took: time.Hour, hastened: true},
		{why: "forced before", before: (*Transport).Force, took: 0, hastened: true},
		{why: "forced meanwhile", meanwhile: (*Transport).Force, took: time.Second, hastened: true},
		{why: "hastening has no effect after Force", betweenMessages: true, before: (*Transport).Force,
			meanwhile: func(tr *Transport) { tr.Hasten(time.Minute) }, took: 0, hastened: true},
	} {
		piped(t, func(t *testing.T, tr *Transport, mta net.Conn) {
			if tc.before != nil {
				tc.before(tr)
			}
			start := time.Now()
			time.AfterFunc(time.Second, func() {
				if tc.meanwhile != nil {
					tc.meanwhile(tr)
				}
			})
			time.AfterFunc(time.Minute, func() { _, _ = io.WriteString(mta, tc.sent) })
			_, _, err := tr.ReadFrame(time.Hour, tc.betweenMessages)
			if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != tc.took || tr.Hastened() != tc.hastened {
				t.Errorf("%s: %v after %s, hastened %v", tc.why, err, took, tr.Hastened())
			}
		})
	}
}

// TestForcedWrite checks that after Force an MTA that does not read gets one second instead of
// WriteTimeout.
func TestForcedWrite(t *testing.T) {
	for _, tc := range []struct {
		why    string
		forced bool
		after  time.Duration // the write begins, and Force is called
		took   time.Duration
	}{
		{"the MTA does not read", false, 0, plenty.WriteTimeout},
		{"the time of a shutdown is up", true, 0, forcedWriteTimeout},
		{"the time of a shutdown is up during the write", true, time.Millisecond, time.Millisecond + forcedWriteTimeout},
	} {
		piped(t, func(t *testing.T, tr *Transport, _ net.Conn) {
			switch {
			case tc.after > 0:
				time.AfterFunc(tc.after, tr.Force)
			case tc.forced:
				tr.Force()
			}
			start := time.Now()
			tr.Reply("c")
			if err := tr.Flush(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != tc.took {
				t.Errorf("%s: %v after %s", tc.why, err, time.Since(start))
			}
			if len(tr.Appended()) != 0 {
				t.Error("octets that could not be sent are kept")
			}
		})
	}
}

// TestWatch checks that Watch reports only that the MTA has left, and that frames which the MTA
// sends meanwhile are not lost.
func TestWatch(t *testing.T) {
	const frame = "\x00\x00\x00\x02Bx"
	for _, tc := range []struct {
		why  string
		act  func(mta net.Conn)
		gone bool
	}{
		{"silence", func(net.Conn) {}, false},
		{"the MTA sends a frame", func(mta net.Conn) { _, _ = io.WriteString(mta, frame) }, false},
		{"the MTA leaves", func(mta net.Conn) { _ = mta.Close() }, true},
	} {
		piped(t, func(t *testing.T, tr *Transport, mta net.Conn) {
			gone := make(chan struct{}, 1)
			stop := tr.Watch(func() { gone <- struct{}{} })
			go tc.act(mta)
			synctest.Wait()
			stop()
			if got := len(gone) == 1; got != tc.gone {
				t.Errorf("%s: gone %v", tc.why, got)
			}
			if tc.gone {
				return
			}
			time.AfterFunc(time.Minute, func() { _, _ = io.WriteString(mta, frame) })
			if cmd, data, err := tr.ReadFrame(time.Hour, false); cmd != CmdBody || string(data) != "x" || err != nil {
				t.Errorf("%s: then %c %q, %v", tc.why, cmd, data, err)
			}
		})
	}
}

// TestWatchEnds: stop waits until gone has returned.
func TestWatchEnds(t *testing.T) {
	piped(t, func(t *testing.T, tr *Transport, mta net.Conn) {
		stop := tr.Watch(func() { time.Sleep(time.Second) })
		_ = mta.Close()
		synctest.Wait()
		begin := time.Now()
		if stop(); time.Since(begin) != time.Second {
			t.Errorf("stop took %s", time.Since(begin))
		}
	})
}
