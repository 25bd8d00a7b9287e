package milter_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/smtp"
)

func newLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestThreeMessagesKeepTheClient(t *testing.T) {
	w := newWorld(t, given{})
	w.eom = func(_ context.Context, s *session, _ *milter.Modifier) milter.Reply {
		w.note("macros j=%s addr=%s i=%s rcpt=%s auth=%s", s.conn.Macro("j"), s.conn.Macro("client_addr"),
			s.conn.Macro("{i}"), s.conn.Macro("{rcpt_addr}"), s.conn.Macro("{auth_authen}"))
		return milter.Accept
	}
	c := w.start()
	for i := range 3 {
		c.SetMacro("{auth_authen}", "")
		if i == 1 { // only the second message is authenticated
			c.SetMacro("{auth_authen}", "kaz")
		}
		res, err := c.SendMessage(envelope(), []byte(mail))
		if err != nil || res.Action.Kind != client.Accept {
			t.Fatal(res, err)
		}
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	if e := w.end(); e != milter.EndQuit {
		t.Error(e)
	}
	message := func(auth string) []string {
		return []string{
			`mail <a@example.com> []`, `rcpt <b@example.jp> []`, `data`,
			`header "From: a@example.com"`, `header "Subject: x"`, `eoh`, `body 6`, `eom`,
			`macros j=mx.example.jp addr=192.0.2.1 i=4Xyz rcpt=b@example.jp auth=` + auth, `abort`,
		}
	}
	want := []string{"+started", "connect client.example.com 4 192.0.2.1:2525", "helo helo.example.com"}
	want = append(append(append(append(want, message("")...), message("kaz")...), message("")...), "close quit")
	expect(t, w.log()[:len(want)], want...)
}

func TestMessageMacrosAreForgotten(t *testing.T) {
	w := newWorld(t, given{})
	var at []string
	w.on["mail"] = func(s *session) milter.Reply {
		at = append(at, s.conn.Macro("i")+"/"+s.conn.Macro("{rcpt_addr}")+"/"+s.conn.Macro("{tls_version}"))
		return milter.Continue
	}
	w.on["rcpt"] = func(s *session) milter.Reply {
		at = append(at, s.conn.Macro("{rcpt_addr}"))
		return milter.Continue
	}
	c := w.dial(w.listen(), client.PostfixOffer())
	c.SetMacro("{tls_version}", "TLSv1.3")
	hello(t, c)
	env := envelope()
	env.To = []string{"<b@example.jp>", "<c@example.jp>"}
	for _, id := range []string{"first", ""} {
		env.QueueID = id
		if _, err := c.SendMessage(env, []byte(mail)); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, at, "first//TLSv1.3", "b@example.jp", "c@example.jp", "//TLSv1.3", "b@example.jp", "c@example.jp")
}

func TestEnvelopeIsExactlyAsTyped(t *testing.T) {
	w := newWorld(t, given{})
	c := w.start()
	for _, step := range []func() (client.Action, error){
		func() (client.Action, error) {
			return c.Mail(`<"we ird"@Sender.Example>`, "SIZE=5", "BODY=8BITMIME")
		},
		func() (client.Action, error) { return c.Rcpt(`nobrackets@x`, "NOTIFY=NEVER") },
		func() (client.Action, error) { return c.Rcpt(`<>`) },
	} {
		if _, err := step(); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Quit()
	w.end()
	got := strings.Join(w.log(), "\n")
	for _, want := range []string{
		`mail <"we ird"@Sender.Example> ["SIZE=5" "BODY=8BITMIME"]`,
		`rcpt nobrackets@x ["NOTIFY=NEVER"]`, `rcpt <> []`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestHeldReplyIsGivenAtTheEnd(t *testing.T) {
	refused := milter.Custom(smtp.New(550, "5.7.1", "no"))
	for _, tc := range []struct {
		why   string
		at    string // the event for which the Session returns reply
		reply milter.Reply
		want  string
		after string // the next event that the Session gets after the event in "at"
	}{
		{"MAIL gives no reply by default", "mail", refused, "550 5.7.1 no", "abort"},
		{"so does RCPT, and the whole message is refused", "rcpt", milter.Tempfail, "tempfail", "abort"},
		{"a header never gives one", "header", milter.Reject, "reject", "abort"},
		{"a body chunk never gives one", "body", milter.Discard, "discard", "abort"},
		{"accept early, no more is shown", "eoh", milter.Accept, "accept", "abort"},
		{"accept at CONNECT would end filtering of the session", "connect", milter.Accept, "continue", "helo helo.example.com"},
		{"discard at HELO means nothing", "helo", milter.Discard, "continue", "mail <a@example.com> []"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			w := newWorld(t, given{})
			after := ""
			w.on[tc.at] = func(*session) milter.Reply { return tc.reply }
			c := w.start()
			res, err := c.SendMessage(envelope(), []byte(mail))
			if err != nil {
				t.Fatal(err)
			}
			if res.Stage != "end_of_message" || res.Action.String() != tc.want {
				t.Errorf("%s at %s, want %s", res.Action, res.Stage, tc.want)
			}
			_ = c.Quit()
			w.end()
			events := w.log()
			for i, e := range events {
				if strings.HasPrefix(e, tc.at) {
					after = events[i+1]
				}
			}
			if after != tc.after {
				t.Errorf("after %s came %q, want %q", tc.at, after, tc.after)
			}
		})
	}
}

// TestHeldReplyAtRcpt checks that a reply to HELO or MAIL that is held is given at RCPT, if the
// MTA waits for a reply there.
func TestHeldReplyAtRcpt(t *testing.T) {
	for _, at := range []string{"helo", "mail"} {
		w := newWorld(t, given{ReplyAt: milter.ReplyAt{Helo: true, Rcpt: true}})
		w.on[at] = func(*session) milter.Reply { return milter.Custom(smtp.New(550, "5.7.1", "no")) }
		c := w.dial(w.listen(), client.PostfixOffer())
		if _, err := c.Connect("x", client1); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Helo("x"); err != nil { // the client goes on although its HELO is refused
			t.Fatal(err)
		}
		env := envelope()
		env.To = []string{"<b@example.jp>", "<c@example.jp>"}
		res, err := c.SendMessage(env, []byte(mail))
		if err != nil || res.Stage != "rcpt" || len(res.Recipients) != 2 || res.Recipients[0].Code != 550 || res.Recipients[1].Code != 550 {
			t.Error(at, res, err)
		}
	}
}

func TestRejectedRecipientThenNextMessage(t *testing.T) {
	w := newWorld(t, given{ReplyAt: milter.ReplyAt{Rcpt: true}})
	w.on["rcpt"] = func(s *session) milter.Reply {
		if strings.HasPrefix(s.arg, "<bad@") {
			return milter.Custom(smtp.New(550, "5.1.1", "unknown here"))
		}
		return milter.Continue
	}
	c := w.start()
	env := envelope()
	env.To = []string{"<bad@example.jp>"}
	res, err := c.SendMessage(env, []byte(mail))
	if err != nil || res.Stage != "rcpt" || res.Action.Code != 550 {
		t.Fatal("only recipient refused:", res, err)
	}
	env.To = []string{"<bad@example.jp>", "<b@example.jp>"}
	res, err = c.SendMessage(env, []byte(mail))
	if err != nil || res.Stage != "end_of_message" || !res.Action.Delivers() {
		t.Fatal("one of two refused:", res, err)
	}
	if res.Recipients[0].Code != 550 || res.Recipients[1].Kind != client.Continue {
		t.Error(res.Recipients)
	}
	_ = c.Quit()
	w.end()
	aborts := strings.Count(strings.Join(w.log(), "\n"), "abort")
	if aborts != 2 {
		t.Errorf("%d aborts for two messages", aborts)
	}
}

func TestReplyAtEveryStep(t *testing.T) {
	all := milter.ReplyAt{Connect: true, Helo: true, Mail: true, Rcpt: true}
	for _, at := range []string{"connect", "helo", "mail", "rcpt"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t, given{ReplyAt: all})
			w.on[at] = func(*session) milter.Reply { return milter.Tempfail }
			c := w.dial(w.listen(), client.PostfixOffer())
			addr := netip.MustParseAddrPort("[2001:db8::25]:1")
			got := map[string]client.Kind{}
			for _, step := range []struct {
				name string
				send func() (client.Action, error)
			}{
				{"connect", func() (client.Action, error) { return c.Connect("[2001:db8::25]", addr) }},
				{"helo", func() (client.Action, error) { return c.Helo("x") }},
				{"mail", func() (client.Action, error) { return c.Mail("<>") }},
				{"rcpt", func() (client.Action, error) { return c.Rcpt("<b@example.jp>") }},
			} {
				a, err := step.send()
				if err != nil {
					t.Fatal(err)
				}
				got[step.name] = a.Kind
				if a.Kind != client.Continue {
					break
				}
			}
			if got[at] != client.Tempfail {
				t.Error(got)
			}
		})
	}
}

// countingListener counts the reads and writes of its connections.
type countingListener struct {
	net.Listener
	writes, reads *atomic.Int64
}

type countingConn struct {
	net.Conn
	l countingListener
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countingConn{c, l}, err
}

func (c countingConn) Write(p []byte) (int, error) {
	c.l.writes.Add(1)
	return c.Conn.Write(p)
}

func (c countingConn) Read(p []byte) (int, error) {
	c.l.reads.Add(1)
	return c.Conn.Read(p)
}

func TestOneWriteForReplyAndEdits(t *testing.T) {
	w := newWorld(t, given{})
	w.eom = func(_ context.Context, _ *session, m *milter.Modifier) milter.Reply {
		for range 5 {
			if err := m.InsertHeader(0, "X-Test", "yes"); err != nil {
				t.Error(err)
			}
		}
		return milter.Accept
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := countingListener{inner, new(atomic.Int64), new(atomic.Int64)}
	w.serve(ln)
	nc, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// The client sends a whole session at once.
	session := optneg() + frame('C', "h\x00U") + frame('M', "<>\x00") + frame('R', "<x>\x00")
	for range 50 {
		session += frame('D', "Li\x00id\x00") + frame('L', "X-H\x00 v\x00")
	}
	session += frame('N', "") + frame('B', "x\r\n") + frame('E', "") + frame('A', "") + frame('Q', "")
	if _, err := nc.Write([]byte(session)); err != nil {
		t.Fatal(err)
	}
	answer := drained(t, nc)
	w.end()
	if n := strings.Count(string(answer), "X-Test"); n != 5 {
		t.Errorf("%d edits", n)
	}
	if n := ln.writes.Load(); n != 2 {
		t.Errorf("%d writes for the negotiation and the end", n)
	}
	if n := ln.reads.Load(); n > 4 {
		t.Errorf("%d reads for %d octets", n, len(session))
	}
}
