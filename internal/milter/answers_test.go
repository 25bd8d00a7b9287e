package milter_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/smtp"
)

// patient is the offer of an MTA that waits for a reply to every command.
func patient() string { return frame('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00") }

// TestRepliesByStep checks, for each step at which the MTA waits and each reply of the Session, what the MTA is
// answered, and whether the message then has ended.
func TestRepliesByStep(t *testing.T) {
	steps := []struct{ name, frame string }{
		{"connect", connectFrame}, {"helo", frame('H', "h\x00")}, {"mail", mailFrame}, {"rcpt", rcptFrame}, {"data", frame('T', "")},
		{"header", frame('L', "A\x00 b\x00")}, {"eoh", frame('N', "")}, {"body", frame('B', "b")}, {"end", frame('E', "")},
	}
	custom := milter.Custom(smtp.New(550, "5.7.1", "no"))
	for at, step := range steps {
		for _, reply := range []milter.Reply{milter.Continue, milter.Accept, milter.Discard, milter.Reject, milter.Tempfail, custom} {
			want, ends := string(reply), reply != milter.Continue
			switch step.name {
			case "connect", "helo":
				ends = false
				if reply == milter.Accept || reply == milter.Discard {
					want = "c" // the MTA would show nothing more of the whole session
				}
			case "rcpt":
				ends = reply == milter.Accept || reply == milter.Discard // otherwise only this recipient is refused
			case "end":
				ends = true
			}
			if reply == custom {
				want += "\x00"
			}
			w := newWorld(t, given{ReplyAt: milter.ReplyAt{Connect: true, Helo: true, Mail: true, Rcpt: true}})
			w.on[step.name] = func(*session) milter.Reply { return reply }
			nc, err := net.Dial("tcp", w.listen())
			if err != nil {
				t.Fatal(err)
			}
			sent := patient()
			for _, s := range steps[:at+1] {
				sent += s.frame
			}
			last := frame('B', "b") // not allowed after the end of a message
			if step.name != "end" {
				last = steps[at+1].frame
			}
			_, _ = io.WriteString(nc, sent+last+frame('Q', ""))
			answer := string(drained(t, nc))
			end := w.end()
			answers := strings.Repeat(frame('c', ""), at) + frame(want[0], want[1:])
			if !strings.Contains(answer, answers) || (end == milter.EndProtocolError) != ends {
				t.Errorf("%s, %s: answers %q, ended by %s; want %q", step.name, reply, answer, end, answers)
			}
		}
	}
}

// TestUnknownCommandEndsNothing checks that an SMTP command that the MTA does not know gets the reply that is
// held, and that the message goes on.
func TestUnknownCommandEndsNothing(t *testing.T) {
	w := newWorld(t, given{ReplyAt: milter.ReplyAt{Mail: true, Rcpt: true}})
	w.on["rcpt"] = func(*session) milter.Reply { panic("here") } // its reply is held for the message
	nc, err := net.Dial("tcp", w.listen())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(nc, patient()+connectFrame+mailFrame+rcptFrame+frame('U', "FOO\x00")+rcptFrame+frame('T', "")+frame('Q', ""))
	answer := string(drained(t, nc))
	if end := w.end(); end != milter.EndQuit || strings.Count(answer, "y451 4.3.0") != 4 {
		t.Errorf("ended by %s, answers %q", end, answer)
	}
}

// salvager is a session that can save a message after a panic.
type salvager struct {
	session
	salvage func(m *milter.Modifier) milter.Reply
}

func (s *salvager) Salvage(m *milter.Modifier) milter.Reply {
	s.w.note("salvage")
	return s.salvage(m)
}

// TestSalvage checks when Salvage is called, and that its reply and edits, and no earlier ones, are those of the
// message.
func TestSalvage(t *testing.T) {
	insert := func(m *milter.Modifier, name string) {
		if err := m.InsertHeader(0, name, "x"); err != nil {
			t.Error(err)
		}
	}
	for _, tt := range []struct {
		why     string
		bug     bool // EndOfMessage panics
		salvage milter.Reply
		again   bool // so does Salvage
		answer  string
		edits   string
		aborts  int
	}{
		{"no panic", false, milter.Tempfail, false, "continue", "[First]", 1},
		{"delivered", true, milter.Accept, false, "accept", "[Saved]", 1},
		{"refused", true, milter.Tempfail, false, "tempfail", "[]", 1},
		{"a second panic", true, milter.Accept, true, "451 4.3.0 Internal error, try again later", "[]", 1},
	} {
		var w *world
		w = newWorld(t, given{NewSession: func(c *milter.Conn) milter.Session {
			return &salvager{session{w: w, conn: c}, func(m *milter.Modifier) milter.Reply {
				insert(m, "Saved")
				if tt.again {
					panic("again")
				}
				return tt.salvage
			}}
		}})
		w.eom = func(_ context.Context, _ *session, m *milter.Modifier) milter.Reply {
			insert(m, "First")
			if tt.bug {
				panic("here")
			}
			return milter.Continue
		}
		c := w.start()
		res, err := c.SendMessage(envelope(), []byte(mail))
		edits := []string{}
		for _, m := range res.Modifications {
			edits = append(edits, m.Name)
		}
		if err != nil || res.Action.String() != tt.answer || fmt.Sprint(edits) != tt.edits {
			t.Errorf("%s: %s, %v, %v", tt.why, res.Action, edits, err)
		}
		_ = c.Quit()
		w.end()
		got := strings.Join(w.log(), "\n")
		if strings.Contains(got, "salvage") != tt.bug || strings.Count(got, "abort") != tt.aborts {
			t.Errorf("%s:\n%s", tt.why, got)
		}
	}
}

// TestLimitAfterAReply checks a message that is refused already when it crosses a limit: the limit is neither
// counted nor answered.
func TestLimitAfterAReply(t *testing.T) {
	no := milter.Custom(smtp.New(550, "5.7.1", "no"))
	for _, tt := range []struct {
		why, at string
		limits  milter.Limits
	}{
		{"the arguments of MAIL", "mail", milter.Limits{MaxEnvelopeBytes: 3}},
		{"recipients", "mail", milter.Limits{MaxRecipients: 1}},
		{"fields", "mail", milter.Limits{MaxHeaderFields: 1}},
		{"the size of a field", "data", milter.Limits{MaxFieldBytes: 3}},
		{"the size of all fields", "header", milter.Limits{MaxHeaderBytes: 20}},
	} {
		w := newWorld(t, given{Limits: tt.limits})
		w.on[tt.at] = func(*session) milter.Reply { return no }
		c := w.start()
		env := client.Envelope{From: "<a@example.com>", To: []string{"<b@example.jp>", "<c@example.jp>"}}
		res, err := c.SendMessage(env, []byte(mail))
		if err != nil || res.Action.String() != "550 5.7.1 no" {
			t.Errorf("%s: %s, %v", tt.why, res.Action, err)
		}
		_ = c.Quit()
		w.end()
		if got := strings.Join(w.log(), "\n"); strings.Contains(got, "+oversize") {
			t.Errorf("%s:\n%s", tt.why, got)
		}
	}
}

// TestReserved checks how much of Limits.Memory a message reserves, and that a message which is refused for lack of
// memory frees at once what it had.
func TestReserved(t *testing.T) {
	const ofSession, factor, each = 64 << 10, 3, 256
	w := newWorld(t, given{Limits: milter.Limits{Memory: 200 << 10}, ReplyAt: milter.ReplyAt{Rcpt: true}})
	var reserved int64
	w.eom = func(context.Context, *session, *milter.Modifier) milter.Reply {
		reserved = w.server.Reserved()
		return milter.Continue
	}
	c := w.start()
	if _, err := c.SendMessage(client.Envelope{From: "<a>", To: []string{"<b>"}}, []byte("A: b\n\nbody\n")); err != nil {
		t.Fatal(err)
	}
	// Two arguments of three octets with a NUL, and a field of a name and a value with its space.
	if want := int64(ofSession + factor*(4+4+3) + 3*each); reserved != want {
		t.Errorf("%d octets are reserved, want %d", reserved, want)
	}
	for _, step := range []struct {
		to   string
		code int
		want int64
	}{
		{"<b>", 0, ofSession + factor*(4+4) + 2*each},
		{"<" + strings.Repeat("x", 60<<10) + ">", 452, ofSession},
		{"<c>", 452, ofSession},
	} {
		if step.code == 0 {
			if _, err := c.Mail("<a>"); err != nil {
				t.Fatal(err)
			}
		}
		if a, err := c.Rcpt(step.to); err != nil || a.Code != step.code || w.server.Reserved() != step.want {
			t.Errorf("%.5s: %s, %v, %d octets are reserved, want %d", step.to, a, err, w.server.Reserved(), step.want)
		}
	}
	if got := w.log(); got[len(got)-1] != "abort" {
		t.Errorf("the message is not forgotten: %q", got)
	}
}

// TestDoomedAreAsked checks that each index is asked for once, from the highest down to 1.
func TestDoomedAreAsked(t *testing.T) {
	var asked []int
	edited(t, client.PostfixOffer(), mail, func(m *milter.Modifier) milter.Reply {
		if err := m.DeleteHeaders("X", 4, func(i int) bool { asked = append(asked, i); return i == 2 }); err != nil {
			t.Error(err)
		}
		return milter.Accept
	})
	if fmt.Sprint(asked) != "[4 3 2 1]" {
		t.Errorf("asked for %v", asked)
	}
}

// TestIdleByVersion checks how long an MTA may be silent in each phase. One before version 4 sends no DATA, so for
// it the message comes after RCPT.
func TestIdleByVersion(t *testing.T) {
	const short, long = milter.DefaultIdleTimeout, milter.DefaultTransferTimeout
	for _, tt := range []struct {
		version byte
		sent    string
		want    time.Duration
	}{
		{2, "", short}, {2, mailFrame, short}, {2, mailFrame + rcptFrame, long}, {2, mailFrame + rcptFrame + frame('L', "A\x00b\x00"), short},
		{3, mailFrame + rcptFrame, long},
		{4, mailFrame + rcptFrame, short}, {4, mailFrame + rcptFrame + frame('T', ""), long},
		{6, mailFrame + rcptFrame, short}, {6, mailFrame + rcptFrame + frame('T', "") + frame('L', "A\x00b\x00"), short},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, given{})
			ln := newPipeListener()
			w.serve(ln)
			nc := ln.dial()
			offer := []byte(optneg())
			offer[8] = tt.version
			begin := time.Now()
			_, _ = nc.Write(offer)
			go func() { _, _ = io.Copy(io.Discard, nc) }()
			_, _ = io.WriteString(nc, connectFrame+tt.sent)
			if e := <-w.closed; e != milter.EndTimeout || time.Since(begin) != tt.want {
				t.Errorf("version %d, %q: ended by %s after %s, want %s", tt.version, tt.sent, e, time.Since(begin), tt.want)
			}
		})
	}
}

// TestRefusedIsNotWaitedFor checks that a connection over a limit has only FrameTimeout to take its refusal.
func TestRefusedIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, given{Limits: milter.Limits{MaxSessions: 1}})
		ln := newPipeListener()
		w.serve(ln)
		first, second := ln.dial(), ln.dial()
		defer first.Close()
		begin := time.Now()
		if _, err := io.ReadAll(second); err != nil || time.Since(begin) != milter.DefaultFrameTimeout {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

// lateListener gives out one more connection after it was closed, as the kernel can.
type lateListener struct {
	*pipeListener
	late chan net.Conn
}

func (l lateListener) Accept() (net.Conn, error) {
	<-l.done
	select {
	case nc := <-l.late:
		return nc, nil
	default:
		return nil, net.ErrClosed
	}
}

// TestAcceptedWhileShuttingDown checks that a connection which was accepted just before Shutdown is not waited for
// longer than the others.
func TestAcceptedWhileShuttingDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, given{})
		ln := lateListener{newPipeListener(), make(chan net.Conn, 1)}
		ours, mta := net.Pipe()
		defer mta.Close()
		ln.late <- ours
		w.serve(ln)
		synctest.Wait() // until Serve accepts
		begin := time.Now()
		if err := w.server.Shutdown(context.Background()); err != nil || time.Since(begin) != 20*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		if got := strings.Join(w.log(), "\n"); !strings.Contains(got, "+ended drain") {
			t.Error(got)
		}
	})
}
