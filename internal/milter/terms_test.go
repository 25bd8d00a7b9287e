package milter_test

import (
	"net"
	"strings"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/milter/wire"
	"sekimori/internal/smtp"
)

// TestRefusedClientGoesOn checks a client that goes on although its CONNECT or HELO was refused, whether or
// not the MTA waits for replies there: each of its messages gets the same refusal. After HELO, another HELO
// gets another chance.
func TestRefusedClientGoesOn(t *testing.T) {
	for _, at := range []string{"connect", "helo"} {
		for _, replies := range []milter.ReplyAt{{}, {Connect: true, Helo: true}} {
			w := newWorld(t, given{ReplyAt: replies})
			w.on[at] = func(*session) milter.Reply { return milter.Reject }
			c := w.dial(w.listen(), client.PostfixOffer())
			if a, err := c.Connect("client.example.com", client1); err != nil || (a.Kind == client.Reject) != (replies.Connect && at == "connect") {
				t.Error(at, replies, "CONNECT:", a, err)
			}
			if a, err := c.Helo("helo.example.com"); err != nil || (a.Kind == client.Reject) != replies.Helo {
				t.Error(at, replies, "HELO:", a, err)
			}
			for range 2 {
				if res, err := c.SendMessage(envelope(), []byte(mail)); err != nil || res.Action.Kind != client.Reject {
					t.Error(at, replies, res, err)
				}
			}
			w.on[at] = nil
			if _, err := c.Helo("again.example.com"); err != nil {
				t.Fatal(err)
			}
			if res, err := c.SendMessage(envelope(), []byte(mail)); err != nil || (res.Action.Kind == client.Reject) != (at == "connect") {
				t.Error(at, replies, "after another HELO:", res, err)
			}
			_ = c.Quit()
			w.end()
			want := map[string]int{"connect": 0, "helo": 1}[at] // messages that the Session was shown
			if got := strings.Join(w.log(), "\n"); strings.Count(got, "mail ") != want {
				t.Errorf("%s %+v:\n%s", at, replies, got)
			}
		}
	}
}

// TestBodyInTheLastFrame checks an MTA that sends the end of the body with the end of the message: the Session
// gets it first, and may refuse it.
func TestBodyInTheLastFrame(t *testing.T) {
	for _, tt := range []struct {
		reply milter.Reply
		want  string // the answer
		ends  int    // calls of EndOfMessage
	}{
		{milter.Continue, "\x00\x00\x00\x01c", 1}, {milter.Reject, "\x00\x00\x00\x01r", 0}, {milter.Tempfail, "\x00\x00\x00\x01t", 0},
	} {
		w := newWorld(t, given{})
		w.on["body"] = func(*session) milter.Reply { return tt.reply }
		nc, err := net.Dial("tcp", w.listen())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = nc.Write([]byte(optneg() + connectFrame + mailFrame + rcptFrame + frame('N', "") + frame('E', "last") + frame('Q', "")))
		answer := string(drained(t, nc))
		w.end()
		if !strings.HasSuffix(answer, tt.want) || strings.Count(strings.Join(w.log(), "\n"), "eom") != tt.ends {
			t.Errorf("%s: answer %q\n%s", tt.reply, answer, strings.Join(w.log(), "\n"))
		}
	}
}

// TestMalformedAfterALimit checks that a malformed field ends the connection, also after a message has crossed
// a limit and goes on as an outline.
func TestMalformedAfterALimit(t *testing.T) {
	for why, bad := range map[string]string{"one string": "From\x00", "no name": "\x00x\x00", "three strings": "A\x00b\x00c\x00", "nothing": ""} {
		var w *world
		w = newWorld(t, given{
			NewSession: func(c *milter.Conn) milter.Session { return &outliner{session{w: w, conn: c}} }, Limits: milter.Limits{MaxHeaderFields: 1},
		})
		nc, err := net.Dial("tcp", w.listen())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = nc.Write([]byte(optneg() + connectFrame + mailFrame + rcptFrame + frame('L', "A\x00 b\x00") + frame('L', "A\x00 b\x00") + frame('L', bad)))
		drained(t, nc)
		if e := w.end(); e != milter.EndProtocolError || !strings.Contains(strings.Join(w.log(), "\n"), string(wire.KindMalformedHeader)) {
			t.Errorf("%s: ended by %s", why, e)
		}
	}
}

// TestLongReason checks that the reason of a hold is cut to what fits into a reply.
func TestLongReason(t *testing.T) {
	for octets, want := range map[int]int{smtp.MaxLen: smtp.MaxLen, smtp.MaxLen + 1: smtp.MaxLen} {
		res, _ := edited(t, client.PostfixOffer(), mail, func(m *milter.Modifier) milter.Reply {
			if err := m.Quarantine(strings.Repeat("x", octets)); err != nil {
				t.Error(err)
			}
			return milter.Accept
		})
		if len(res.Modifications) != 1 || len(res.Modifications[0].Value) > want {
			t.Errorf("%d octets: %+v", octets, res.Modifications)
		}
	}
}
