package milter

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/dialogue"
	"sekimori/internal/milter/wire"
)

// TestGoMilterIsShownWholeFrames checks what go-milter reads from the shim: the length of a
// frame, and then exactly that many octets, or the end.
func TestGoMilterIsShownWholeFrames(t *testing.T) {
	ours, mta := net.Pipe()
	defer mta.Close()
	srv := New(Options{NewSession: func(*Conn) Session { return nil }})
	l := newLink(srv, ours, srv.settings.Load(), "")
	l.phase = dialogue.PhaseEndOfHeader
	s := &shim{worker: &worker{srv: srv, next: make(chan *link, 1)}, link: l}
	go func() { _, _ = io.WriteString(mta, "\x00\x00\x00\x01E") }()
	var frame [5]byte
	if _, err := io.ReadFull(s, frame[:4]); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(frame[4:]); n != 1 || err != nil || string(frame[:]) != "\x00\x00\x00\x01E" {
		t.Errorf("%q, %d, %v", frame, n, err)
	}
	close(s.worker.next)
	s.link = nil
	if _, err := io.ReadFull(s, frame[:]); err != io.ErrUnexpectedEOF {
		t.Errorf("after the last connection: %v", err)
	}
}

// TestAgreement checks that the answer to an offer is that of go-milter with the agreed version, for
// every offer, also if the offer before was another one.
func TestAgreement(t *testing.T) {
	s := New(Options{NewSession: func(*Conn) Session { return nil }})
	for _, o := range []wire.Offer{
		{Version: 6, Actions: 0x1ff, Protocol: 0x1fffff}, {Version: 6, Actions: 0x1ff, Protocol: 0x1fffff},
		{Version: 4, Actions: 0x1ff, Protocol: 0x1fffff}, {Version: 2, Actions: 0x3f, Protocol: 0x7f}, {Version: 6, Protocol: 0x1fffff},
	} {
		terms := dialogue.Negotiate(o, ReplyAt{}.to)
		theirs := &gomilter.Server{
			NewMilter: func() gomilter.Milter { return gomilter.NoOpMilter{} },
			Actions:   terms.Actions, Protocol: terms.Protocol, SymList: s.symList,
		}
		want := []byte(answered(t, theirs, "\x00\x00\x00\x01O"))
		want[8] = byte(o.Version)
		// go-milter lists the macros of the stages in any order.
		got := slices.Clone(s.agree(terms))
		if slices.Sort(got[17:]); len(want) > 17 {
			slices.Sort(want[17:])
		}
		if string(got) != string(want) {
			t.Errorf("%+v: %q, want %q", o, got, want)
		}
	}
}

// dials is a listener whose connections come from the channel.
type dials struct {
	next   chan net.Conn
	closed chan struct{}
	once   *sync.Once
}

func (d dials) Accept() (net.Conn, error) {
	select {
	case nc := <-d.next:
		return nc, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d dials) Close() error   { d.once.Do(func() { close(d.closed) }); return nil }
func (d dials) Addr() net.Addr { return &net.UnixAddr{} }

// TestWorkersServeAgain checks that a worker serves one connection after another, that no more than
// keptWorkers wait, and that Shutdown ends those that wait.
func TestWorkersServeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int64
		s := New(Options{NewSession: func(*Conn) Session { return nil }, Observer: Observer{SessionEnded: func(End) { ended.Add(1) }}})
		ln := dials{make(chan net.Conn), make(chan struct{}), &sync.Once{}}
		go func() { _ = s.Serve(ln) }()
		waiting := func() int {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.idle)
		}
		dial := func() net.Conn {
			ours, mta := net.Pipe()
			ln.next <- ours
			return mta
		}
		for range 3 {
			mta := dial()
			if n := waiting(); n != 0 {
				t.Fatalf("%d workers wait while the only one serves", n)
			}
			_ = mta.Close()
			if n := waiting(); n != 1 {
				t.Fatalf("%d workers wait", n)
			}
		}
		var all []net.Conn
		for range keptWorkers + 6 {
			all = append(all, dial())
		}
		for _, mta := range all {
			_ = mta.Close()
		}
		if n := waiting(); n != keptWorkers {
			t.Errorf("%d workers wait, want %d", n, keptWorkers)
		}
		if n := ended.Load(); n != keptWorkers+9 {
			t.Errorf("%d sessions ended", n)
		}
		last := dial() // its worker ends after the connection, and does not wait for another
		go func() {
			time.Sleep(time.Second)
			_ = last.Close()
		}()
		if err := s.Shutdown(context.Background()); err != nil { // Shutdown would not return while a worker waits
			t.Error(err)
		}
	})
}

// TestAttendance checks that one timer makes each long call attended after attendAfter, whatever
// calls came before, and that no timer is set while no call runs.
func TestAttendance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{NewSession: func(*Conn) Session { return nil }})
		w := &s.attendance
		begin := func() *attendant {
			ours, mta := net.Pipe()
			t.Cleanup(func() { _, _ = ours.Close(), mta.Close() })
			a := newAttendant(newLink(s, ours, s.settings.Load(), ""))
			w.begin(a)
			return a
		}
		// after returns, d later, how many calls are not attended, and whether the timer is set.
		after := func(d time.Duration) (calls int, pending bool) {
			time.Sleep(d)
			synctest.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.calls), w.pending
		}
		quick := begin()
		after(attendAfter / 2)
		if !w.end(quick) {
			t.Error("a short call was attended")
		}
		slow := begin()
		after(attendAfter - time.Millisecond) // the timer for the first call has run out meanwhile
		if calls, pending := after(0); calls != 1 || !pending {
			t.Errorf("shortly before the time: %d calls, pending %v", calls, pending)
		}
		if calls, pending := after(time.Millisecond); calls != 0 || pending {
			t.Errorf("at the time: %d calls, pending %v", calls, pending)
		}
		slow.end()
		again := begin()
		if _, pending := after(0); !pending || !w.end(again) {
			t.Error("the timer is not set for the call after")
		}
		if _, pending := after(attendAfter); pending {
			t.Error("the timer is set without a call")
		}
	})
}

// panicking is a connection whose Read panics.
type panicking struct{ net.Conn }

func (panicking) Read([]byte) (int, error) { panic("boom") }

// TestPanicOutsideSession checks that a panic that is not one of the Session ends its connection, and is told.
func TestPanicOutsideSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, panicked := make(chan End, 1), make(chan string, 1)
		s := New(Options{
			NewSession: func(*Conn) Session { return nil }, Logger: slog.New(slog.DiscardHandler),
			Observer: Observer{SessionEnded: func(e End) { ended <- e }, Panic: func(component string, _ []byte) { panicked <- component }},
		})
		ln := dials{make(chan net.Conn), make(chan struct{}), &sync.Once{}}
		go func() { _ = s.Serve(ln) }()
		ours, mta := net.Pipe()
		defer mta.Close()
		ln.next <- panicking{ours}
		if component, e := <-panicked, <-ended; component != "milter.negotiate" || e != EndPanic {
			t.Errorf("%s, ended by %s", component, e)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
