package milter_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

var client1 = netip.MustParseAddrPort("192.0.2.1:25")

func (w *world) shutdownNow() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return w.server.Shutdown(ctx)
}

// piped runs f in a synctest bubble, with a server and a client that has sent HELO.
func piped(t *testing.T, opts given, f func(t *testing.T, w *world, c *client.Client, nc net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, opts)
		ln := newPipeListener()
		w.serve(ln)
		nc := ln.dial()
		c := client.New(nc)
		c.Timeout = time.Hour * 24
		if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
			t.Fatal(err)
		}
		hello(t, c)
		f(t, w, c, nc)
		if err := w.shutdownNow(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestProgressWhileWaiting(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, c *client.Client, _ net.Conn) {
		w.eom = func(context.Context, *session, *milter.Modifier) milter.Reply {
			time.Sleep(12 * time.Second)
			return milter.Accept
		}
		c.Timeout = 6 * time.Second // an MTA waits 6 s for a reply, and 6 s again after each notice
		res, err := c.SendMessage(envelope(), []byte(mail))
		if err != nil || res.Action.Kind != client.Accept {
			t.Fatal(res, err)
		}
		if c.Progress() != 2 {
			t.Errorf("%d notices in 12 s", c.Progress())
		}
	})
}

// TestEveryLongMessageIsAttended checks that every slow message of a connection gets its
// progress notices, also after fast messages.
func TestEveryLongMessageIsAttended(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, c *client.Client, _ net.Conn) {
		var takes time.Duration
		w.eom = func(context.Context, *session, *milter.Modifier) milter.Reply {
			time.Sleep(takes)
			return milter.Accept
		}
		c.Timeout = 6 * time.Second
		notices := 0
		for _, takes = range []time.Duration{0, 12 * time.Second, 99 * time.Millisecond, 100 * time.Millisecond, time.Second, 12 * time.Second, 0} {
			notices += int(takes / (5 * time.Second))
			res, err := c.SendMessage(envelope(), []byte(mail))
			if err != nil || res.Action.Kind != client.Accept {
				t.Fatal(takes, res, err)
			}
		}
		if c.Progress() != notices {
			t.Errorf("%d notices, want %d", c.Progress(), notices)
		}
	})
}

// TestMTASpeaksWhileWaiting checks that frames which an MTA sends before it has the reply to the
// message are handled after that reply.
func TestMTASpeaksWhileWaiting(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, _ *client.Client, nc net.Conn) {
		w.eom = func(ctx context.Context, _ *session, _ *milter.Modifier) milter.Reply {
			time.Sleep(9 * time.Second)
			w.note("%v", ctx.Err())
			return milter.Continue
		}
		message := mailFrame + rcptFrame + frame('N', "") + frame('E', "")
		go func() {
			_, _ = io.WriteString(nc, message)
			time.Sleep(time.Second)
			_, _ = io.WriteString(nc, frame('A', "")+message)
			_, _ = io.WriteString(nc, frame('Q', ""))
		}()
		if got, want := string(drained(t, nc)), strings.Repeat(frame('p', "")+frame('c', ""), 2); got != want {
			t.Errorf("answers %q, want %q", got, want)
		}
		if e := <-w.closed; e != milter.EndQuit {
			t.Error(e)
		}
		one := []string{"mail <> []", "rcpt <x> []", "eoh", "eom", "<nil>", "abort"}
		expect(t, w.log()[3:], append(append(one, one...), "close quit", "+ended quit")...)
	})
}

func TestEndOfMessageHasADeadline(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, c *client.Client, _ net.Conn) {
		w.eom = func(ctx context.Context, _ *session, _ *milter.Modifier) milter.Reply {
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Error(ctx.Err())
			}
			return milter.Tempfail
		}
		for range 2 { // the second message has the full time again
			start := time.Now()
			res, err := c.SendMessage(envelope(), []byte(mail))
			if err != nil || res.Action.Kind != client.Tempfail {
				t.Fatal(res, err)
			}
			if waited := time.Since(start); waited != milter.DefaultEndOfMessageTimeout {
				t.Error("waited", waited)
			}
		}
	})
}

func TestMTAGoneWhileWaiting(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, c *client.Client, nc net.Conn) {
		started := make(chan struct{})
		w.eom = func(ctx context.Context, _ *session, m *milter.Modifier) milter.Reply {
			close(started)
			<-ctx.Done()
			w.note("%v", context.Cause(ctx))
			return milter.Accept
		}
		go func() {
			<-started
			_ = nc.Close()
		}()
		if _, err := c.SendMessage(envelope(), []byte(mail)); err == nil {
			t.Error("no error")
		}
		if e := <-w.closed; e != milter.EndEOF {
			t.Error(e)
		}
		got := strings.Join(w.log(), "\n")
		if !strings.Contains(got, milter.ErrPeerGone.Error()+"\nabort\nclose eof") {
			t.Error(got)
		}
	})
}

// TestMTADeafWhileWaiting checks that the connection ends if the MTA stops reading during a long
// EndOfMessage, so that the progress notice cannot be written.
func TestMTADeafWhileWaiting(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, c *client.Client, nc net.Conn) {
		w.eom = func(ctx context.Context, _ *session, _ *milter.Modifier) milter.Reply {
			<-ctx.Done()
			return milter.Accept
		}
		_, _ = io.WriteString(nc, mailFrame+rcptFrame+frame('N', "")+frame('E', ""))
		if e := <-w.closed; e != milter.EndTimeout {
			t.Error(e)
		}
	})
}

func TestTimeouts(t *testing.T) {
	for _, tc := range []struct {
		why  string
		sent string
		wait time.Duration
	}{
		{"between messages", "", milter.DefaultIdleTimeout},
		{"in the envelope", mailFrame + rcptFrame, milter.DefaultIdleTimeout},
		{"the MTA takes in a long message after DATA", mailFrame + rcptFrame + frame('T', ""), milter.DefaultTransferTimeout},
		{"a frame that does not end", "\x00\x00\x00\x09H", milter.DefaultFrameTimeout},
		{"a length that does not end", "\x00", milter.DefaultFrameTimeout},
		{"a long frame that stops", mailFrame + rcptFrame + frame('N', "") + "\x00\x01\x00\x00B" + strings.Repeat("x", 20000), milter.DefaultFrameTimeout},
	} {
		t.Run(tc.why, func(t *testing.T) {
			piped(t, given{}, func(t *testing.T, w *world, _ *client.Client, nc net.Conn) {
				start := time.Now()
				if _, err := io.WriteString(nc, tc.sent); err != nil {
					t.Fatal(err)
				}
				if e := <-w.closed; e != milter.EndTimeout {
					t.Error(e)
				}
				if waited := time.Since(start); waited != tc.wait {
					t.Errorf("waited %s, want %s", waited, tc.wait)
				}
			})
		})
	}
}

// TestTricklingFrame checks that a frame which comes octet by octet does not get more time with
// each octet.
func TestTricklingFrame(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, _ *client.Client, nc net.Conn) {
		start := time.Now()
		for _, b := range []byte(frame('H', strings.Repeat("x", 100)+"\x00")) {
			if _, err := nc.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if e := <-w.closed; e != milter.EndTimeout {
			t.Error(e)
		}
		if waited := time.Since(start); waited > milter.DefaultFrameTimeout+time.Second {
			t.Error("waited", waited)
		}
	})
}

func TestShutdownWaitsForQuit(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, c *client.Client, _ net.Conn) {
		done := make(chan error, 1)
		go func() { done <- w.server.Shutdown(context.Background()) }()
		synctest.Wait()
		if err := <-w.served; !errors.Is(err, milter.ErrServerClosed) {
			t.Error("Serve:", err)
		}
		// A session that is in progress can go on.
		for range 2 {
			if res, err := c.SendMessage(envelope(), []byte(mail)); err != nil || !res.Action.Delivers() {
				t.Fatal(res, err)
			}
		}
		select {
		case err := <-done:
			t.Fatal("Shutdown did not wait:", err)
		default:
		}
		_ = c.Quit()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if e := <-w.closed; e != milter.EndQuit {
			t.Error(e)
		}
		if err := w.server.Serve(newPipeListener()); !errors.Is(err, milter.ErrServerClosed) {
			t.Error("Serve after Shutdown:", err)
		}
	})
}

func deliver(t *testing.T, c *client.Client) {
	t.Helper()
	if res, err := c.SendMessage(envelope(), []byte(mail)); err != nil || !res.Action.Delivers() {
		t.Error(res, err)
	}
}

// begin sends a message up to DATA. After DATA an MTA is silent until it has received the whole
// message.
func begin(t *testing.T, c *client.Client) {
	t.Helper()
	for _, step := range []func() (client.Action, error){
		func() (client.Action, error) { return c.Mail("<a@example.com>") },
		func() (client.Action, error) { return c.Rcpt("<b@example.net>") },
		c.Data,
	} {
		if a, err := step(); err != nil || !a.Delivers() {
			t.Error(a, err)
		}
	}
}

// TestShutdownOfIdleSessions checks that a shutdown waits only for a short time for the next
// message of an idle session, because no new sessions are accepted meanwhile.
func TestShutdownOfIdleSessions(t *testing.T) {
	const patience = 20 * time.Second
	for _, c := range []struct {
		name   string
		before func(*testing.T, *client.Client) // runs before Shutdown is called
		during func(*testing.T, *client.Client)
		want   time.Duration
	}{
		{name: "before its first message", want: patience},
		{
			name:   "between two",
			before: func(t *testing.T, c *client.Client) { deliver(t, c); time.Sleep(time.Minute) },
			want:   patience,
		},
		{
			name: "one more message, each in time",
			during: func(t *testing.T, c *client.Client) {
				for range 3 {
					time.Sleep(patience - time.Second)
					deliver(t, c)
				}
			},
			want: 3*(patience-time.Second) + patience,
		},
		{
			name:   "a message in progress takes as long as it takes",
			before: func(t *testing.T, c *client.Client) { begin(t, c) },
			during: func(t *testing.T, c *client.Client) {
				time.Sleep(300 * time.Second)
				for _, step := range []func() (client.Action, error){
					func() (client.Action, error) { return c.Header("From", " a@example.com") }, c.EndOfHeader,
				} {
					if _, err := step(); err != nil {
						t.Error(err)
					}
				}
				if a, _, err := c.EndOfMessage(); err != nil || !a.Delivers() {
					t.Error(a, err)
				}
				if err := c.Abort(); err != nil {
					t.Error(err)
				}
			},
			want: 300*time.Second + patience,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			piped(t, given{}, func(t *testing.T, w *world, mta *client.Client, _ net.Conn) {
				if c.before != nil {
					c.before(t, mta)
				}
				start := time.Now()
				done := make(chan error, 1)
				go func() { done <- w.server.Shutdown(context.Background()) }()
				if c.during != nil {
					c.during(t, mta)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if waited := time.Since(start); waited != c.want {
					t.Errorf("waited %v, want %v", waited, c.want)
				}
				if e := <-w.closed; e != milter.EndDrain {
					t.Error(e)
				}
			})
		})
	}
}

func TestShutdownDeadlineClosesSilentMessage(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, c *client.Client, _ net.Conn) {
		begin(t, c)
		ctx, cancel := context.WithTimeout(context.Background(), 330*time.Second)
		defer cancel()
		start := time.Now()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if waited := time.Since(start); waited != 330*time.Second {
			t.Error("waited", waited)
		}
		if e := <-w.closed; e != milter.EndDrain {
			t.Error(e)
		}
	})
}

func TestShutdownDeadlineEndsTheMessage(t *testing.T) {
	piped(t, given{}, func(t *testing.T, w *world, c *client.Client, _ net.Conn) {
		w.eom = func(ctx context.Context, _ *session, _ *milter.Modifier) milter.Reply {
			<-ctx.Done()
			w.note("%v", context.Cause(ctx))
			time.Sleep(3 * time.Second) // this EndOfMessage returns only 3 s after its context has ended
			return milter.Tempfail
		}
		go func() {
			time.Sleep(time.Second)
			_ = w.shutdownNow()
		}()
		// The reply still arrives. The ABORT after the reply may fail.
		res, _ := c.SendMessage(envelope(), []byte(mail))
		if res.Action.Kind != client.Tempfail || res.Stage != "end_of_message" {
			t.Error(res)
		}
		if e := <-w.closed; e != milter.EndDrain {
			t.Error(e)
		}
		if got := strings.Join(w.log(), "\n"); !strings.Contains(got, milter.ErrDraining.Error()) {
			t.Error(got)
		}
	})
}
