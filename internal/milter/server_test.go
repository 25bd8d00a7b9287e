package milter_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

func TestSoftLimitIsToldTempfail(t *testing.T) {
	w := newWorld(t, given{Limits: milter.Limits{MaxSessions: 1}})
	addr := w.listen()
	first := w.dial(addr, client.PostfixOffer())
	hello(t, first)
	second := w.dial(addr, client.PostfixOffer())
	a, err := second.Connect("x", client1)
	if err != nil || a.Kind != client.Tempfail {
		t.Fatal(a, err)
	}
	if _, err := second.Helo("x"); err == nil {
		if _, _, err = second.EndOfMessage(); err == nil {
			t.Error("the connection was not closed")
		}
	}
	if res, err := first.SendMessage(envelope(), []byte(mail)); err != nil || !res.Action.Delivers() {
		t.Error("the first session:", res, err)
	}
	_ = first.Quit()
	w.end()
	if got := strings.Join(w.log(), "\n"); !strings.Contains(got, "+rejected max_sessions") || strings.Count(got, "+started") != 1 {
		t.Error(got)
	}
}

// TestMemoryRefusesNewSessions checks that a connection which does not fit into Limits.Memory is
// refused, and that the existing sessions go on.
func TestMemoryRefusesNewSessions(t *testing.T) {
	w := newWorld(t, given{Limits: milter.Limits{Memory: 128 << 10}}) // enough for one session and its messages
	addr := w.listen()
	first := w.dial(addr, client.PostfixOffer())
	hello(t, first)
	c := w.dial(addr, client.PostfixOffer())
	if a, err := c.Connect("x", client1); err != nil || a.Kind != client.Tempfail {
		t.Fatal(a, err)
	}
	if res, err := first.SendMessage(envelope(), []byte(mail)); err != nil || !res.Action.Delivers() {
		t.Error("the first session:", res, err)
	}
	_ = first.Quit()
	w.end()
	if got := strings.Join(w.log(), "\n"); !strings.Contains(got, "+rejected memory") || strings.Count(got, "+started") != 1 {
		t.Error(got)
	}
	if err := w.shutdownNow(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := w.server.Reserved(); n != 0 {
		t.Errorf("%d octets are still reserved at the end", n)
	}
}

// TestMemoryRefusesGrowth checks that a message which needs more than Limits.Memory is refused
// with 452. Its memory is freed, and the next message of the session is accepted.
func TestMemoryRefusesGrowth(t *testing.T) {
	w := newWorld(t, given{Limits: milter.Limits{Memory: 128 << 10}})
	c := w.dial(w.listen(), client.PostfixOffer())
	hello(t, c)
	res, err := c.SendMessage(envelope(), []byte("Subject: "+strings.Repeat("x", 64<<10)+"\r\n"+mail))
	if err != nil || res.Action.Code != 452 || !strings.Contains(res.Action.String(), "4.3.1") {
		t.Fatal(res, err)
	}
	if res, err := c.SendMessage(envelope(), []byte(mail)); err != nil || !res.Action.Delivers() {
		t.Error("the next message:", res, err)
	}
	_ = c.Quit()
	w.end()
	if err := w.shutdownNow(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := w.server.Reserved(); n != 0 {
		t.Errorf("%d octets are still reserved at the end", n)
	}
	if got := strings.Join(w.log(), "\n"); strings.Count(got, "+oversize memory") != 1 {
		t.Error(got)
	}
}

// TestHardLimit checks that, while the greatest possible number of connections is being refused,
// further connections wait in the queue of the listener, and are refused later.
func TestHardLimit(t *testing.T) {
	for reason, limits := range map[string]milter.Limits{"max_sessions": {MaxSessions: 1}, "memory": {Memory: 128 << 10}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, given{Limits: limits})
			ln := newPipeListener()
			w.serve(ln)
			conns := make(chan net.Conn, 300)
			for range 300 {
				go func() { conns <- ln.dial() }()
			}
			synctest.Wait()
			if n := len(conns); n != 1+256 {
				t.Fatalf("%s: %d connections were accepted", reason, n)
			}
			if got := strings.Join(w.log(), "\n"); strings.Count(got, "hard_limit") != 1 || strings.Count(got, reason) != 256 {
				t.Error(got)
			}
			for n := 0; n < 300; n++ { // the MTAs close their connections, so that the server can refuse the connections in the queue
				_ = (<-conns).Close()
			}
			synctest.Wait()
			if got := strings.Join(w.log(), "\n"); strings.Count(got, reason)+strings.Count(got, "+started") < 300-257 {
				t.Error(got)
			}
			if err := w.shutdownNow(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// crowded returns a world whose Serve waits, because too many connections are being refused.
func crowded(t *testing.T) *world {
	w := newWorld(t, given{Limits: milter.Limits{MaxSessions: 1}})
	ln := newPipeListener()
	w.serve(ln)
	for range 257 {
		nc := ln.dial()
		t.Cleanup(func() { _ = nc.Close() })
	}
	synctest.Wait()
	return w
}

// TestHardLimitEndsWithTheServer checks that Shutdown also ends a Serve that waits because too
// many connections are being refused.
func TestHardLimitEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crowded(t)
		if err := w.shutdownNow(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-w.served; !errors.Is(err, milter.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// TestHardLimitDoesNotSpin checks that a Serve which waits because too many connections are being refused ends at
// once when Shutdown begins, although they have time left.
func TestHardLimitDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crowded(t)
		begin := time.Now()
		go func() { _ = w.server.Shutdown(context.Background()) }()
		if err := <-w.served; !errors.Is(err, milter.ErrServerClosed) || time.Since(begin) != 0 {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

// TestSet checks that connections which come after a change of the limits have the new limits,
// and that existing connections keep theirs.
func TestSet(t *testing.T) {
	w := newWorld(t, given{})
	w.on["mail"] = func(s *session) milter.Reply {
		if strings.Contains(s.arg, "bug") {
			panic("a bug")
		}
		return milter.Continue
	}
	addr := w.listen()
	old := w.dial(addr, client.PostfixOffer())
	hello(t, old)
	w.server.Set(milter.Settings{Limits: milter.Limits{MaxRecipients: 1}, OnPanic: milter.Accept})
	fresh := w.dial(addr, client.PostfixOffer())
	hello(t, fresh)
	two := client.Envelope{From: "<>", To: []string{"<a@x>", "<b@x>"}}
	if res, err := fresh.SendMessage(client.Envelope{From: "<bug>", To: []string{"<a@x>"}}, []byte(mail)); err != nil || res.Action.Kind != client.Accept {
		t.Error("a panic after the change:", res, err)
	}
	if res, err := fresh.SendMessage(two, []byte(mail)); err != nil || res.Action.Code != 452 {
		t.Error("two recipients where one is allowed:", res, err)
	}
	if res, err := old.SendMessage(two, []byte(mail)); err != nil || !res.Action.Delivers() {
		t.Error("two recipients under the old limits:", res, err)
	}
}

func TestAcceptBacksOffAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, given{})
		ln := newPipeListener()
		w.serve(ln)
		start := time.Now()
		for range 12 {
			ln.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		c := client.New(ln.dial())
		// The pauses are 5, 10, ... 640 ms, and then four times 1 s.
		if waited := time.Since(start); waited < 5*time.Second || waited > 6*time.Second {
			t.Error("waited", waited)
		}
		if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(w.logs.String(), "cannot accept"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		if n := strings.Count(strings.Join(w.log(), "\n"), "+rejected accept_failed"); n != 12 {
			t.Errorf("counted %d times", n)
		}
		_ = c.Quit()
		ln.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		if err := w.shutdownNow(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-w.served; !errors.Is(err, milter.ErrServerClosed) {
			t.Error(err)
		}
	})
}

func TestServeEndsWhenTheListenerIsBroken(t *testing.T) {
	w := newWorld(t, given{})
	ln := newPipeListener()
	_ = ln.Close()
	if err := w.server.Serve(ln); !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "milter: accept on pipe") {
		t.Error(err)
	}
}

// TestShutdownRemovesTheUnixSocket checks that Shutdown removes the file of the socket, because
// an MTA that finds no file knows at once that no milter is there.
func TestShutdownRemovesTheUnixSocket(t *testing.T) {
	path := t.TempDir() + "/milter.sock"
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, given{})
	w.serve(ln)
	c, err := client.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		t.Fatal(err)
	}
	hello(t, c)
	if res, err := c.SendMessage(envelope(), []byte(mail)); err != nil || !res.Action.Delivers() {
		t.Error(res, err)
	}
	_ = c.Quit()
	w.end()
	_ = w.shutdownNow()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the socket file is still there:", err)
	}
}
