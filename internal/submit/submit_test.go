package submit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/printable"
	"sekimori/internal/submit"
)

const report = "Subject: a report\r\n\r\n.\r\n..two\nlast\r\n"

func writeReport(w io.Writer) error {
	_, err := io.WriteString(w, report)
	return err
}

var envelope = submit.Envelope{From: "bounce+7@dmarc.isp.test", To: "rua@shop.test", ID: "20261128.k7q2@x"}

// send submits a report to the MTA with the given changes to the defaults.
func send(t *testing.T, m *mta, change func(*submit.Options)) submit.Result {
	t.Helper()
	r, err := newSubmitter(t, m, change).Submit(t.Context(), envelope, writeReport)
	if err != nil {
		t.Errorf("error %v with %+v", err, r)
	}
	return r
}

func newSubmitter(t *testing.T, m *mta, change func(*submit.Options)) *submit.Submitter {
	t.Helper()
	o := submit.Options{Server: m.address, HELO: "mx.isp.test",
		Timeouts: submit.Timeouts{Command: 5 * time.Second, Block: 5 * time.Second, End: 5 * time.Second, Total: 20 * time.Second}}
	if change != nil {
		change(&o)
	}
	s, err := submit.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSubmit(t *testing.T) {
	m := serve(t, mta{offers: []string{"DSN", "SIZE 1000", "8BITMIME", "ENHANCEDSTATUSCODES"}, replies: map[string]string{".": "250 2.0.0 Ok: queued as 4ABC"}})
	r := send(t, m, nil)
	if want := (submit.Result{Kind: submit.Sent, Reply: "250 2.0.0 Ok: queued as 4ABC", Code: 250, Enhanced: "2.0.0"}); r != want {
		t.Errorf("got %+v, want %+v", r, want)
	}
	want := []string{"EHLO mx.isp.test", "EHLO mx.isp.test", "MAIL FROM:<bounce+7@dmarc.isp.test> BODY=8BITMIME RET=HDRS ENVID=20261128.k7q2@x",
		"RCPT TO:<rua@shop.test> NOTIFY=FAILURE", "DATA", "QUIT"}
	if got := m.heard(); !slices.Equal(got, want) {
		t.Errorf("the MTA heard\n%s", strings.Join(got, "\n"))
	}
	if got := m.mail(); got != "Subject: a report\r\n\r\n..\r\n...two\r\nlast\r\n" {
		t.Errorf("mail %q", got)
	}
}

// TestPlainMTA: an MTA without DSN is told nothing that it does not know.
func TestPlainMTA(t *testing.T) {
	m := serve(t, mta{})
	if r := send(t, m, func(o *submit.Options) { o.TLS = submit.None }); r.Kind != submit.Sent {
		t.Errorf("%+v", r)
	}
	want := []string{"EHLO mx.isp.test", "MAIL FROM:<bounce+7@dmarc.isp.test>", "RCPT TO:<rua@shop.test>", "DATA", "QUIT"}
	if got := m.heard(); !slices.Equal(got, want) {
		t.Errorf("the MTA heard\n%s", strings.Join(got, "\n"))
	}
}

func TestHELO(t *testing.T) {
	m := serve(t, mta{replies: map[string]string{"EHLO": "502 what?"}})
	if r := send(t, m, nil); r.Kind != submit.Sent {
		t.Errorf("%+v", r)
	}
	if got := m.heard(); !slices.Contains(got, "HELO mx.isp.test") {
		t.Errorf("the MTA heard\n%s", strings.Join(got, "\n"))
	}
}

// TestReplies has what an MTA may answer, and what is made of it.
func TestReplies(t *testing.T) {
	long := strings.Repeat("x", 1500)
	for _, tc := range []struct {
		name, command, reply string
		want                 submit.Result
	}{
		{"unknown user", "RCPT", "550 5.1.1 <rua@shop.test>: Recipient address rejected",
			submit.Result{Kind: submit.Refused, Reply: "550 5.1.1 <rua@shop.test>: Recipient address rejected", Code: 550, Enhanced: "5.1.1"}},
		{"no enhanced code", "RCPT", "550 no such user", submit.Result{Kind: submit.Refused, Reply: "550 no such user", Code: 550}},
		{"code only", "RCPT", "550", submit.Result{Kind: submit.Temporary, Reply: "the reply of the mail server was malformed"}},
		{"code and space", "RCPT", "550 ", submit.Result{Kind: submit.Refused, Reply: "550", Code: 550}},
		{"enhanced code only", "RCPT", "550 5.1.1", submit.Result{Kind: submit.Refused, Reply: "550 5.1.1", Code: 550, Enhanced: "5.1.1"}},
		{"class differs", "RCPT", "550 4.1.1 x", submit.Result{Kind: submit.Refused, Reply: "550 4.1.1 x", Code: 550}},
		{"not an enhanced code", "RCPT", "550 5.01.1 x", submit.Result{Kind: submit.Refused, Reply: "550 5.1.1 x", Code: 550, Enhanced: "5.1.1"}},
		{"four numbers", "RCPT", "554 5.1.1.1 x", submit.Result{Kind: submit.Refused, Reply: "554 5.1.1.1 x", Code: 554}},
		{"several lines", "RCPT", "550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three",
			submit.Result{Kind: submit.Refused, Reply: "550 5.7.1 one two three", Code: 550, Enhanced: "5.7.1"}},
		{"controls", "RCPT", "550 5.1.1 a\tb\x1b[31m\x00\xff\u202e",
			submit.Result{Kind: submit.Refused, Reply: "550 5.1.1 a b?[31m???", Code: 550, Enhanced: "5.1.1"}},
		{"long line", "RCPT", "550 5.1.1 " + long,
			submit.Result{Kind: submit.Refused, Reply: "550 5.1.1 " + long[:500-len("550 5.1.1 ...")] + "...", Code: 550, Enhanced: "5.1.1"}},
		{"too long line", "RCPT", "550 5.1.1 " + long + long, submit.Result{Kind: submit.Temporary, Reply: "the reply of the mail server was too long"}},
		{"no end", "RCPT", strings.Repeat("550-5.1.1 x\r\n", 20000), submit.Result{Kind: submit.Temporary, Reply: "the reply of the mail server was too long"}},
		{"no code", "RCPT", "hello", submit.Result{Kind: submit.Temporary, Reply: "the reply of the mail server was malformed"}},
		{"full", "RCPT", "452 4.2.2 mailbox full", submit.Result{Kind: submit.Temporary, Reply: "452 4.2.2 mailbox full", Code: 452, Enhanced: "4.2.2"}},
		{"going down", "RCPT", "421 4.3.2 bye\x04", submit.Result{Kind: submit.Temporary, Reply: "421 4.3.2 bye", Code: 421, Enhanced: "4.3.2"}},
		{"dropped", "RCPT", "\x04", submit.Result{Kind: submit.Temporary, Reply: "the mail server closed the connection"}},
		{"half a reply", "RCPT", "550-5.1.1 a\r\n550\x04", submit.Result{Kind: submit.Temporary, Reply: "the mail server closed the connection"}},
		{"sender", "MAIL", "553 5.1.8 who?", submit.Result{Kind: submit.Refused, Reply: "553 5.1.8 who?", Code: 553, Enhanced: "5.1.8"}},
		{"login missing", "MAIL", "530 5.7.0 login first", submit.Result{Kind: submit.Temporary, Reply: "530 5.7.0 login first", Code: 530, Enhanced: "5.7.0"}},
		{"no data", "DATA", "554 5.5.1 no", submit.Result{Kind: submit.Refused, Reply: "554 5.5.1 no", Code: 554, Enhanced: "5.5.1"}},
		{"wrong success", "DATA", "250 ok", submit.Result{Kind: submit.Temporary, Reply: "250 ok", Code: 250}},
		{"mail refused", ".", "554 5.7.1 spam", submit.Result{Kind: submit.Refused, Reply: "554 5.7.1 spam", Code: 554, Enhanced: "5.7.1"}},
		{"mail deferred", ".", "451 4.7.1 later", submit.Result{Kind: submit.Temporary, Reply: "451 4.7.1 later", Code: 451, Enhanced: "4.7.1"}},
		{"dropped at the end", ".", "\x04", submit.Result{Kind: submit.Temporary, Reply: "the mail server closed the connection"}},
		{"greeting", "", "554 5.7.1 blocked", submit.Result{Kind: submit.Temporary, Reply: "greeting: 554 5.7.1 blocked", Code: 554, Enhanced: "5.7.1"}},
		{"busy", "", "421 4.7.0 busy\x04", submit.Result{Kind: submit.Temporary, Reply: "greeting: 421 4.7.0 busy", Code: 421, Enhanced: "4.7.0"}},
		{"EHLO", "EHLO", "550 5.7.1 bad name", submit.Result{Kind: submit.Temporary, Reply: "EHLO: 550 5.7.1 bad name", Code: 550, Enhanced: "5.7.1"}},
		{"QUIT", "QUIT", "500 no\x04", submit.Result{Kind: submit.Sent, Reply: "250 2.0.0 ok", Code: 250, Enhanced: "2.0.0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := serve(t, mta{replies: map[string]string{tc.command: tc.reply}})
			if r := send(t, m, nil); r != tc.want {
				t.Errorf("got  %+v\nwant %+v", r, tc.want)
			}
			if r := tc.want; r.Kind != submit.Sent && tc.command != "." && m.mail() != "" {
				t.Error("the MTA got the mail")
			}
		})
	}
}

// TestTarpit: an MTA that does not answer, answers one octet at a time, or does not read, is left.
func TestTarpit(t *testing.T) {
	for _, tc := range []struct {
		name    string
		command string
		reply   string
		change  func(*submit.Timeouts)
	}{
		{"greeting", "", "\x05", func(t *submit.Timeouts) { t.Command = 100 * time.Millisecond }},
		{"RCPT", "RCPT", "\x05", func(t *submit.Timeouts) { t.Command = 100 * time.Millisecond }},
		{"end", ".", "\x05", func(t *submit.Timeouts) { t.End = 100 * time.Millisecond }},
		{"trickle", "RCPT", "\x06", func(t *submit.Timeouts) { t.Command = 100 * time.Millisecond }},
		{"reply of two codes", "RCPT", "550-a\r\n250 b", func(t *submit.Timeouts) { t.Command = 100 * time.Millisecond }},
		{"total", "RCPT", "\x06", func(t *submit.Timeouts) { t.Total = 200 * time.Millisecond }},
		{"reads nothing", "DATA", "354 go\x05", func(t *submit.Timeouts) { t.Block = 200 * time.Millisecond }},
		{"reads nothing for the whole time", "DATA", "354 go\x05", func(t *submit.Timeouts) { t.Total = 200 * time.Millisecond }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := serve(t, mta{replies: map[string]string{tc.command: tc.reply}})
			s := newSubmitter(t, m, func(o *submit.Options) { tc.change(&o.Timeouts) })
			began := time.Now()
			r, err := s.Submit(t.Context(), envelope, func(w io.Writer) error {
				if tc.command != "DATA" {
					return writeReport(w)
				}
				for range 1 << 12 { // more than the buffers of a connection hold
					if _, err := io.WriteString(w, strings.Repeat("x", 1<<13)); err != nil {
						return err
					}
				}
				return nil
			})
			want := submit.Result{Kind: submit.Temporary, Reply: "the mail server did not answer in time"}
			if tc.command == "" {
				want.Reply = "greeting: " + want.Reply
			}
			if r != want || err != nil {
				t.Errorf("got %+v, %v", r, err)
			}
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestContextEnds(t *testing.T) {
	for _, command := range []string{"", "EHLO", "RCPT", "."} {
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		m := serve(t, mta{replies: map[string]string{command: "\x05"}, on: func(c string) {
			if c == command {
				cancel(stopped)
			}
		}})
		r, err := newSubmitter(t, m, nil).Submit(ctx, envelope, writeReport)
		if want := (submit.Result{Kind: submit.Temporary, Reply: "the time for the submission was over"}); !errors.Is(err, stopped) || r != want {
			t.Errorf("at %q: %+v, %v", command, r, err)
		}
	}
}

// TestContextEndsLate: a mail that the MTA has taken, or has refused, stays so when ctx ends after that.
func TestContextEndsLate(t *testing.T) {
	for reply, want := range map[string]submit.Kind{"250 ok": submit.Sent, "554 spam": submit.Refused} {
		ctx, cancel := context.WithCancel(t.Context())
		m := serve(t, mta{replies: map[string]string{".": reply}, on: func(c string) {
			if c == "QUIT" {
				cancel()
			}
		}})
		if r, err := newSubmitter(t, m, nil).Submit(ctx, envelope, writeReport); err != nil || r.Kind != want || ctx.Err() == nil {
			t.Errorf("%s: %+v, %v", reply, r, err)
		}
		cancel()
	}
}

// TestCheck: Check is called after RCPT and before DATA, and can prevent the mail.
func TestCheck(t *testing.T) {
	m := serve(t, mta{})
	e := envelope
	lost := errors.New("lost")
	e.Check = func() error {
		if got := m.heard(); !strings.HasPrefix(got[len(got)-1], "RCPT") {
			t.Errorf("called after %s", got[len(got)-1])
		}
		return lost
	}
	r, err := newSubmitter(t, m, nil).Submit(t.Context(), e, writeReport)
	if want := (submit.Result{Kind: submit.Temporary, Reply: "nothing was sent"}); !errors.Is(err, lost) || r != want {
		t.Errorf("%+v, %v", r, err)
	}
	e.Check = func() error { return nil }
	if r, err := newSubmitter(t, m, nil).Submit(t.Context(), e, writeReport); err != nil || r.Kind != submit.Sent {
		t.Errorf("%+v, %v", r, err)
	}
	if got := m.heard(); slices.Index(got, "QUIT") < 0 || slices.Index(got, "DATA") < slices.Index(got, "QUIT") {
		t.Errorf("the MTA heard\n%s", strings.Join(got, "\n"))
	}
}

// TestBodyFails: half a mail is never completed.
func TestBodyFails(t *testing.T) {
	m := serve(t, mta{})
	broken := errors.New("disk")
	r, err := newSubmitter(t, m, nil).Submit(t.Context(), envelope, func(w io.Writer) error {
		if err := writeReport(w); err != nil {
			return err
		}
		return broken
	})
	if want := (submit.Result{Kind: submit.Temporary, Reply: "the mail was not sent to its end"}); !errors.Is(err, broken) || r != want {
		t.Errorf("%+v, %v", r, err)
	}
	if m.finish(); m.mails() != 0 {
		t.Error("the MTA got a whole mail")
	}
}

func TestEnvelope(t *testing.T) {
	m := serve(t, mta{})
	s := newSubmitter(t, m, nil)
	for _, change := range []func(*submit.Envelope){
		func(e *submit.Envelope) { e.To = "" },
		func(e *submit.Envelope) { e.To = "a@b.test\r\nRCPT TO:<c@d.test" },
		func(e *submit.Envelope) { e.To = "a@b.test> NOTIFY=NEVER" },
		func(e *submit.Envelope) { e.To = "a b@b.test" },
		func(e *submit.Envelope) { e.To = "a<b@b.test" },
		func(e *submit.Envelope) { e.From = "\x00@b.test" },
		func(e *submit.Envelope) { e.From = "\xff@b.test" },
		func(e *submit.Envelope) { e.To = "ü@b.test" },
		func(e *submit.Envelope) { e.To = strings.Repeat("a", 251) + "@b.c" },
		func(e *submit.Envelope) { e.ID = "a b" },
		func(e *submit.Envelope) { e.ID = strings.Repeat("a", 101) },
	} {
		e := envelope
		change(&e)
		if r, err := s.Submit(t.Context(), e, writeReport); err == nil || r != (submit.Result{Kind: submit.Temporary, Reply: "nothing was sent"}) {
			t.Errorf("%+v: %+v, %v", e, r, err)
		}
	}
	e := envelope
	e.To, e.ID = strings.Repeat("a", 250)+"@b.c", strings.Repeat("a", 100)
	if r, err := s.Submit(t.Context(), e, writeReport); err != nil || r.Kind != submit.Sent {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSMTPUTF8(t *testing.T) {
	e := envelope
	e.To, e.SMTPUTF8 = "berichte@köln.test", true
	m := serve(t, mta{})
	r, err := newSubmitter(t, m, nil).Submit(t.Context(), e, writeReport)
	if err != nil || r.Kind != submit.Refused || r.Enhanced != "5.6.7" {
		t.Errorf("%+v, %v", r, err)
	}
	m = serve(t, mta{offers: []string{"SMTPUTF8"}})
	if r, err := newSubmitter(t, m, nil).Submit(t.Context(), e, writeReport); err != nil || r.Kind != submit.Sent {
		t.Errorf("%+v, %v", r, err)
	}
	if !slices.Contains(m.heard(), "MAIL FROM:<bounce+7@dmarc.isp.test> SMTPUTF8") {
		t.Error(m.heard())
	}
}

func TestNoServer(t *testing.T) {
	m := serve(t, mta{})
	m.close()
	if r := send(t, m, nil); r.Kind != submit.Temporary || !strings.HasPrefix(r.Reply, "no connection: ") || !strings.HasSuffix(r.Reply, "connection refused") {
		t.Errorf("%+v", r)
	}
}

func TestNew(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := strings.Repeat("x", 501)
	for _, tc := range []struct {
		o    submit.Options
		want string
	}{
		{submit.Options{Server: "mail"}, `submit: server "mail": want HOST:PORT`},
		{submit.Options{Server: ":25"}, `submit: server ":25": want HOST:PORT`},
		{submit.Options{Server: "mail:25", TLS: "yes"}, `submit: tls "yes": want opportunistic, required or none`},
		{submit.Options{Server: "mail:25", TLS: submit.None, User: "a"}, "submit: a password is only sent over TLS; set tls to required"},
		{submit.Options{Server: "mail:25", HELO: "a\r\nb"}, `submit: "a\r\nb" cannot be the name of this host`},
		{submit.Options{Server: long}, "submit: server " + printable.Quoted(long, 500) + ": want HOST:PORT"},
		{submit.Options{Server: "mail:25", TLS: submit.TLS(long)}, "submit: tls " + printable.Quoted(long, 500) + ": want opportunistic, required or none"},
		{submit.Options{Server: "mail:25", HELO: long + " "}, "submit: " + printable.Quoted(long+" ", 500) + " cannot be the name of this host"},
		{submit.Options{Server: "mail:"}, `submit: server "mail:": want HOST:PORT`},
		{submit.Options{Server: "mail:25", User: "a", PasswordFile: file("empty", "\nsecret")}, "submit: password: the first line of " + dir + "/empty is not a password"},
		{submit.Options{Server: "mail:25", User: "a", PasswordFile: file("long", strings.Repeat("x", 4097))}, "submit: password: " + dir + "/long has more than 4096 octets"},
		{submit.Options{Server: "mail:25", User: "a", PasswordFile: dir + "/none"}, "submit: password: open " + dir + "/none: no such file or directory"},
	} {
		if _, err := submit.New(tc.o); err == nil || err.Error() != tc.want {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
	for _, o := range []submit.Options{
		{Server: "mail:25"}, {Server: "[::1]:25", TLS: submit.Required},
		{Server: "mail:25", User: "a", PasswordFile: file("good", strings.Repeat("x", 4094)+"\r\n")},
	} {
		if _, err := submit.New(o); err != nil {
			t.Error(err)
		}
	}
}

func ExampleSubmitter_Submit() {
	s, err := submit.New(submit.Options{Server: "127.0.0.1:1", TLS: submit.None})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := s.Submit(context.Background(), submit.Envelope{From: "bounce@isp.example", To: "rua@shop.example"}, func(w io.Writer) error {
		_, err := io.WriteString(w, "Subject: Report\r\n\r\n")
		return err
	})
	fmt.Println(r.Kind, err)
	// Output: temporary <nil>
}
