package milter_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

func TestSoftLimitIsToldTempfail(t *testing.T) {
	w := newWorld(t, milter.Options{Limits: milter.Limits{MaxSessions: 1}})
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

func TestAdmit(t *testing.T) {
	w := newWorld(t, milter.Options{Admit: func() milter.RejectReason { return "memory" }})
	c := w.dial(w.listen(), client.PostfixOffer())
	if a, err := c.Connect("x", client1); err != nil || a.Kind != client.Tempfail {
		t.Fatal(a, err)
	}
	expect(t, w.log(), "+rejected memory")
}

func TestRefusingHasALimitToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, milter.Options{Admit: func() milter.RejectReason { return "memory" }})
		ln := newPipeListener()
		w.serve(ln)
		for range 300 {
			nc := ln.dial()
			defer nc.Close()
		}
		synctest.Wait()
		got := strings.Join(w.log(), "\n")
		if n := strings.Count(got, "hard_limit"); n != 300-256 {
			t.Errorf("%d closed at once", n)
		}
		if err := w.shutdownNow(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestAcceptBacksOffAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, milter.Options{})
		ln := newPipeListener()
		w.serve(ln)
		start := time.Now()
		for range 12 {
			ln.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		c := client.New(ln.dial())
		// 5 ms doubled up to 1 s: 5+10+...+640 ms, then four times a second.
		if waited := time.Since(start); waited < 5*time.Second || waited > 6*time.Second {
			t.Error("waited", waited)
		}
		if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(w.logs.String(), "cannot accept"); n != 1 {
			t.Errorf("logged %d times", n)
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
	w := newWorld(t, milter.Options{})
	ln := newPipeListener()
	_ = ln.Close()
	if err := w.server.Serve(ln); !errors.Is(err, net.ErrClosed) || !strings.HasPrefix(err.Error(), "milter: accept on pipe") {
		t.Error(err)
	}
}
