package milter_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/milter/wire"
	"sekimori/internal/smtp"
)

const (
	connectFrame = "\x00\x00\x00\x04Ch\x00U"
	mailFrame    = "\x00\x00\x00\x04M<>\x00"
	rcptFrame    = "\x00\x00\x00\x05R<x>\x00"
)

func TestMalformedFrameClosesOneSession(t *testing.T) {
	o := optneg()
	inHeader := o + connectFrame + mailFrame + rcptFrame
	for _, tc := range []struct {
		why  string
		sent string
		kind milter.ErrorKind
	}{
		{"zero length", o + "\x00\x00\x00\x00", wire.KindEmptyFrame},
		{"zero length first", "\x00\x00\x00\x00", wire.KindEmptyFrame},
		{"a length of 4 GiB", o + "\xff\xff\xff\xffB", wire.KindFrameTooLong},
		{"one over the frame limit", inHeader + frame('N', "") + "\x00\x10\x00\x01B", wire.KindFrameTooLong},
		{"a command has a lower limit", o + "\x00\x01\x00\x01H", wire.KindFrameTooLong},
		{"HTTP", "GET / HTTP/1.0\r\n\r\n", wire.KindFrameTooLong},
		{"unknown command", o + frame('Z', "x"), wire.KindUnknownCommand},
		{"unknown command first", frame('Z', "x"), wire.KindUnknownCommand},
		{"CONNECT before the negotiation", connectFrame, wire.KindOutOfSequence},
		{"short negotiation", frame('O', "\x00\x00\x00\x06\x00\x00\x01\xff"), wire.KindMalformedNegotiation},
		{"version 1", frame('O', "\x00\x00\x00\x01\x00\x00\x00\x3f\x00\x00\x00\x7f"), wire.KindUnsupportedVersion},
		{"negotiation twice", o + o, wire.KindOutOfSequence},
		{"CONNECT twice", o + connectFrame + connectFrame, wire.KindOutOfSequence},
		{"HELO before CONNECT", o + frame('H', "x\x00"), wire.KindOutOfSequence},
		{"MAIL before CONNECT", o + mailFrame, wire.KindOutOfSequence},
		{"unknown SMTP command before CONNECT", o + frame('U', "x\x00"), wire.KindOutOfSequence},
		{"RCPT before MAIL", o + connectFrame + rcptFrame, wire.KindOutOfSequence},
		{"DATA before RCPT", o + connectFrame + mailFrame + frame('T', ""), wire.KindOutOfSequence},
		{"header before MAIL", o + connectFrame + frame('L', "a\x00b\x00"), wire.KindOutOfSequence},
		{"body before MAIL", o + connectFrame + frame('B', "b"), wire.KindOutOfSequence},
		{"body before the end of the header", inHeader + frame('B', "b"), wire.KindOutOfSequence},
		{"end of message before the header", inHeader + frame('E', ""), wire.KindOutOfSequence},
		{"header after the end of the header", inHeader + frame('N', "") + frame('L', "a\x00b\x00"), wire.KindOutOfSequence},
		{"RCPT after DATA", inHeader + frame('T', "") + rcptFrame, wire.KindOutOfSequence},
		{"body after the final reply", inHeader + frame('N', "") + frame('E', "") + frame('B', "b"), wire.KindOutOfSequence},
		{"connect without family", o + frame('C', "h\x00"), wire.KindMalformedConnect},
		{"connect without NUL", o + frame('C', "host"), wire.KindMalformedConnect},
		{"connect with another family", o + frame('C', "h\x009\x00\x00a\x00"), wire.KindMalformedConnect},
		{"connect without port", o + frame('C', "h\x004\x00"), wire.KindMalformedConnect},
		{"connect with an open address", o + frame('C', "h\x004\x00\x19192.0.2.1"), wire.KindMalformedConnect},
		{"HELO without NUL", o + connectFrame + frame('H', "x"), wire.KindMalformedHelo},
		{"HELO of two strings", o + connectFrame + frame('H', "x\x00y\x00"), wire.KindMalformedHelo},
		{"empty MAIL", o + connectFrame + frame('M', ""), wire.KindMalformedMail},
		{"MAIL without NUL", o + connectFrame + frame('M', "<>"), wire.KindMalformedMail},
		{"RCPT without NUL", o + connectFrame + mailFrame + frame('R', "<>"), wire.KindMalformedRcpt},
		{"header of one string", inHeader + frame('L', "From\x00"), wire.KindMalformedHeader},
		{"header of three strings", inHeader + frame('L', "From\x00a\x00b\x00"), wire.KindMalformedHeader},
		{"header with trailing octets", inHeader + frame('L', "From\x00a\x00b"), wire.KindMalformedHeader},
		{"header without name", inHeader + frame('L', "\x00a\x00"), wire.KindMalformedHeader},
		{"empty header", inHeader + frame('L', ""), wire.KindMalformedHeader},
		{"empty macro frame", o + frame('D', ""), wire.KindMalformedMacro},
		{"macro without value", o + frame('D', "Ci\x00"), wire.KindMalformedMacro},
		{"macro without NUL", o + frame('D', "Ci\x00x"), wire.KindMalformedMacro},
		{"too many macros", o + frame('D', "Ci\x00"+strings.Repeat("x", 300)+"\x00"), wire.KindMacrosTooLarge},
		{"too many macros over the stages", o + frame('D', "Ci\x00"+strings.Repeat("x", 200)+"\x00") +
			frame('D', "Hi\x00"+strings.Repeat("x", 200)+"\x00"), wire.KindMacrosTooLarge},
	} {
		t.Run(tc.why, func(t *testing.T) {
			w := newWorld(t, given{Limits: milter.Limits{MaxMacroBytes: 256}})
			addr := w.listen()
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(nc, tc.sent)
			drained(t, nc)
			got := strings.Join(w.log(), "\n")
			if !strings.Contains(got, "+protocol_error "+string(tc.kind)) || !strings.Contains(got, "+ended protocol_error") {
				t.Errorf("want %s in\n%s", tc.kind, got)
			}
			if strings.HasPrefix(tc.sent, o+connectFrame) {
				if e := w.end(); e != milter.EndProtocolError {
					t.Error(e)
				}
			}
			if res, err := sendOne(w, addr); err != nil || !res.Action.Delivers() {
				t.Error("the next session:", res, err)
			}
		})
	}
}

// TestProtocolErrorsAreRationed causes many protocol errors, as anybody who can connect to the
// socket can. It checks that the log has ten of these errors and the number of those that were left
// out, and that the metric counts all of them.
func TestProtocolErrorsAreRationed(t *testing.T) {
	w := newWorld(t, given{})
	addr := w.listen()
	const errors = 25
	for range errors {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, "GET / HTTP/1.0\r\n\r\n")
		drained(t, nc)
		_ = nc.Close()
	}
	if err := w.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := w.logs.String()
	if n := strings.Count(text, "milter protocol error\""); n != 10 || strings.Count(text, "left out of the log") != 1 || !strings.Contains(text, "count=15") {
		t.Errorf("%d of %d errors are logged:\n%s", n, errors, text)
	}
	if strings.Contains(text, "queue_id") {
		t.Errorf("a queue id is logged where there is no message:\n%s", text)
	}
	if n := strings.Count(strings.Join(w.log(), "\n"), "+protocol_error"); n != errors {
		t.Errorf("%d of %d errors are counted", n, errors)
	}
}

func sendOne(w *world, addr string) (client.Result, error) {
	c := w.dial(addr, client.PostfixOffer())
	hello(w.t, c)
	defer c.Quit()
	return c.SendMessage(envelope(), []byte(mail))
}

func TestMTAGoneMidFrame(t *testing.T) {
	w := newWorld(t, given{})
	nc, err := net.Dial("tcp", w.listen())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(nc, optneg()+connectFrame+mailFrame+rcptFrame+"\x00\x00\xff\xffL half")
	_ = nc.Close()
	if e := w.end(); e != milter.EndEOF {
		t.Error(e)
	}
	expect(t, w.log()[1:6], "connect h U invalid AddrPort", "mail <> []", "rcpt <x> []", "abort", "close eof")
}

func TestOversize(t *testing.T) {
	limits := milter.Limits{MaxHeaderFields: 10, MaxHeaderBytes: 1000, MaxFieldBytes: 500, MaxRecipients: 3, MaxEnvelopeBytes: 300}
	long := strings.Repeat("x", 400)
	for _, tc := range []struct {
		what string
		raw  string
		to   int
		want string
	}{
		{milter.OversizeHeaderFields, strings.Repeat("A: b\n", 11), 1, "552 5.3.4"},
		{milter.OversizeHeaderBytes, strings.Repeat("A: "+long+"\n", 3), 1, "552 5.3.4"},
		{milter.OversizeFieldBytes, "A: " + long + long + "\n", 1, "552 5.3.4"},
		{milter.OversizeRecipients, "A: b\n", 4, "452 4.5.3"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			w := newWorld(t, given{Limits: limits})
			c := w.start()
			env := envelope()
			for len(env.To) < tc.to {
				env.To = append(env.To, env.To[0])
			}
			res, err := c.SendMessage(env, []byte(tc.raw+"From: hidden@example.com\n\nbody\n"))
			if err != nil || !strings.HasPrefix(res.Action.String(), tc.want) {
				t.Fatal(res, err)
			}
			// The limits are per message, so the next message is accepted.
			res, err = c.SendMessage(envelope(), []byte(mail))
			if err != nil || !res.Action.Delivers() {
				t.Fatal(res, err)
			}
			_ = c.Quit()
			w.end()
			got := w.log()
			at := -1
			for i, e := range got {
				if e == "+oversize "+tc.what {
					at = i
				}
			}
			if at < 0 || got[at+1] != "abort" {
				t.Errorf("after +oversize something of the message was shown:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

func TestOversizeEnvelope(t *testing.T) {
	w := newWorld(t, given{Limits: milter.Limits{MaxEnvelopeBytes: 100}, ReplyAt: milter.ReplyAt{Rcpt: true}})
	c := w.start()
	env := envelope()
	env.To = append(env.To, "<"+strings.Repeat("x", 100)+"@example.jp>")
	res, err := c.SendMessage(env, []byte(mail))
	if err != nil || res.Recipients[1].Code != 452 || res.Action.Code != 452 || res.Stage != "end_of_message" {
		t.Fatal(res, err)
	}
}

// chooser is a session that gives its own reply if a message exceeds a limit.
type chooser struct {
	session
	reply milter.Reply
}

func (c *chooser) Oversize(what string) milter.Reply {
	c.w.note("asked about %s", what)
	return c.reply
}

func TestOversizeIsAnsweredByTheSession(t *testing.T) {
	for _, tc := range []struct {
		why   string
		reply milter.Reply
		want  string
	}{
		{"a reply of its own", milter.Custom(smtp.New(550, "5.6.0", "too much")), "550 5.6.0 too much"},
		{"it may let the message pass unseen", milter.Accept, "accept"},
		{"an outline is not for a session that takes none", milter.Outline, "tempfail"},
		{"it may not go on with half a header", milter.Continue, "552 5.3.4 Message header exceeds what is accepted here"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			var w *world
			w = newWorld(t, given{
				Limits:     milter.Limits{MaxHeaderFields: 1},
				NewSession: func(c *milter.Conn) milter.Session { return &chooser{session{w: w, conn: c}, tc.reply} },
			})
			c := w.start()
			res, err := c.SendMessage(envelope(), []byte(mail))
			if err != nil || res.Action.String() != tc.want {
				t.Fatal(res, err)
			}
			_ = c.Quit()
			w.end()
			if n := strings.Count(strings.Join(w.log(), "\n"), "asked about header_fields"); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestPanicCostsOneMessage(t *testing.T) {
	for _, at := range []string{"mail", "rcpt", "data", "header", "eoh", "body", "end"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t, given{})
			bad := true
			w.on[at] = func(*session) milter.Reply {
				if bad {
					panic("boom")
				}
				return milter.Continue
			}
			c := w.start()
			res, err := c.SendMessage(envelope(), []byte(mail))
			if err != nil || res.Action.Code != 451 {
				t.Fatal(res, err)
			}
			bad = false
			res, err = c.SendMessage(envelope(), []byte(mail))
			if err != nil || !res.Action.Delivers() {
				t.Fatal("the next message:", res, err)
			}
			_ = c.Quit()
			if e := w.end(); e != milter.EndQuit {
				t.Error(e)
			}
			got := strings.Join(w.log(), "\n")
			if n := strings.Count(got, "+panic"); n != 1 {
				t.Errorf("%d panics counted", n)
			}
			if n := strings.Count(got, "abort"); n != 2 {
				t.Errorf("%d aborts for two messages:\n%s", n, got)
			}
			if n := strings.Count(got, "connect "); n != 1 {
				t.Errorf("%d connects", n)
			}
			if s := w.logs.String(); !strings.Contains(s, "boom") || !strings.Contains(s, "stack=") {
				t.Error("not logged with its stack:", s)
			}
		})
	}
}

func TestPanicBeforeAMessage(t *testing.T) {
	for _, tc := range []struct {
		at     string
		second client.Kind // the answer to a message that follows a second HELO
	}{
		{"connect", client.Custom}, // the Session did not handle CONNECT, so every message of the session is refused
		{"helo", client.Continue},
	} {
		t.Run(tc.at, func(t *testing.T) {
			w := newWorld(t, given{})
			once := true
			w.on[tc.at] = func(*session) milter.Reply {
				if once {
					once = false
					panic("boom")
				}
				return milter.Continue
			}
			c := w.start()
			res, err := c.SendMessage(envelope(), []byte(mail))
			if err != nil || res.Action.Code != 451 {
				t.Fatal(res, err)
			}
			if _, err := c.Helo("again"); err != nil {
				t.Fatal(err)
			}
			res, err = c.SendMessage(envelope(), []byte(mail))
			if err != nil || res.Action.Kind != tc.second {
				t.Fatal(res, err)
			}
			_ = c.Quit()
			w.end()
		})
	}
}

func TestPanicInNewSession(t *testing.T) {
	w := newWorld(t, given{NewSession: func(*milter.Conn) milter.Session { panic("boom") }})
	c := w.start()
	for range 2 {
		res, err := c.SendMessage(envelope(), []byte(mail))
		if err != nil || res.Action.Code != 451 {
			t.Fatal(res, err)
		}
	}
}

func TestPanicInAbortClosesTheConnection(t *testing.T) {
	w := newWorld(t, given{OnPanic: milter.Reject})
	w.on["abort"] = func(*session) milter.Reply { panic("boom") }
	w.on["end"] = func(*session) milter.Reply { panic("boom") }
	c := w.start()
	res, err := c.SendMessage(envelope(), []byte(mail))
	// The reply is sent although Abort panics. Then the server closes the connection, so the
	// ABORT of the client may fail.
	if res.Action.Kind != client.Reject {
		t.Fatal(res, err)
	}
	if e := w.end(); e != milter.EndPanic {
		t.Error(e)
	}
}

func TestPanicInCloseIsCounted(t *testing.T) {
	w := newWorld(t, given{})
	w.on["close"] = func(*session) milter.Reply { panic("boom") }
	c := w.start()
	_ = c.Quit()
	w.end()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.log(), "\n"); !strings.Contains(got, "+panic milter.close\n+ended quit") {
		t.Error(got)
	}
}

func TestInvalidReplyIsReplacedAndLogged(t *testing.T) {
	w := newWorld(t, given{})
	w.on["end"] = func(*session) milter.Reply { return milter.Custom(smtp.New(554, "4.0.0", "classes differ")) }
	c := w.start()
	res, err := c.SendMessage(envelope(), []byte(mail))
	if err != nil || res.Action.Kind != client.Reject {
		t.Fatal(res, err)
	}
	if s := w.logs.String(); strings.Count(s, "invalid reply replaced") != 1 || !strings.Contains(s, "queue_id=4Xyz") {
		t.Error(s)
	}
}
