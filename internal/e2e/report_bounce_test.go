package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/bounce"
	"sekimori/internal/report"
	"sekimori/internal/submit"
)

// reportMail is a mail of a few lines.
func reportMail(w io.Writer) error {
	_, err := io.WriteString(w, "From: noreply@dmarc.isp.test\r\nTo: rua@shop.test\r\nSubject: Report Domain: shop.test\r\n\r\n.\r\nthe body\r\n")
	return err
}

func needPostfix(t *testing.T) {
	t.Helper()
	if missing := environment(); missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("end-to-end tests must run in CI, but %s", missing)
		}
		t.Skipf("end-to-end tests skipped: %s", missing)
	}
}

func submitter(t *testing.T, server string, change func(*submit.Options)) *submit.Submitter {
	t.Helper()
	o := submit.Options{Server: server, HELO: "mx.isp.test", Timeouts: submit.Timeouts{Command: patience, End: patience, Total: 2 * patience}}
	if change != nil {
		change(&o)
	}
	s, err := submit.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReportSubmission submits mail to a real Postfix: in the clear, with STARTTLS and with a login. It also plays the
// recipients that refuse, defer and delay.
func TestReportSubmission(t *testing.T) {
	needPostfix(t)
	t.Parallel()
	reader := startReader(t)
	operator, encrypted, login, _ := startOperator(t, reader)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("geheim\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inbox := reader.inbox()
	for _, tc := range []struct {
		to, server string
		change     func(*submit.Options)
		want       submit.Kind
		reply      string // its beginning
	}{
		{"plain@shop.test", operator.smtp, nil, submit.Sent, "250 2.0.0 Ok: queued as "},
		{"tls@shop.test", encrypted, nil, submit.Sent, "250 2.0.0 Ok: queued as "},
		{"login@shop.test", login, func(o *submit.Options) { o.User, o.PasswordFile = "alice", password }, submit.Sent, "250 2.0.0 Ok: queued as "},
		{"nobody@shop.test", login, nil, submit.Refused, "554 5.7.1 <nobody@shop.test>: Recipient address rejected: Access denied"},
		{"nobody@shop.test", login, func(o *submit.Options) { o.TLS = submit.None }, submit.Temporary, "530 5.7.0 Must issue a STARTTLS command first"},
		{"nobody@shop.test", encrypted, func(o *submit.Options) { o.TLS = submit.Required }, submit.Temporary, "TLS: the certificate of the mail server is not trusted: "},
		{"refused@shop.test", reader.smtp, nil, submit.Refused, "550 5.1.1 <refused@shop.test>: Recipient address rejected: nobody here"},
		{"full@shop.test", reader.smtp, nil, submit.Temporary, "452 4.2.2 <full@shop.test>: Recipient address rejected: mailbox full"},
		{"busy@shop.test", reader.smtp, nil, submit.Temporary, "421 4.3.2 <busy@shop.test>: Recipient address rejected: come again"},
		{"slow@shop.test", reader.smtp, func(o *submit.Options) { o.Timeouts.Command = time.Second }, submit.Temporary, "the mail server did not answer in time"},
	} {
		e := submit.Envelope{From: "dmarc-bounce+1-abcdefgh@" + reportDomain, To: tc.to, ID: "20261128.k7q2"}
		r, err := submitter(t, tc.server, tc.change).Submit(t.Context(), e, reportMail)
		if err != nil || r.Kind != tc.want || !strings.HasPrefix(r.Reply, tc.reply) {
			t.Errorf("%s: %+v, %v; want %s %s", tc.to, r, err, tc.want, tc.reply)
		}
		if r.Kind == submit.Sent {
			d := inbox.wait(t, tc.to)
			if string(d.body) != ".\nthe body\n" {
				t.Errorf("%s: body %q", tc.to, d.body)
			}
			if with := strings.Join(d.all("Received"), "\n"); (tc.server != operator.smtp) != strings.Contains(with, "with ESMTPS") {
				t.Errorf("%s came\n%s", tc.to, with)
			}
		}
	}
}

// echo is what was told about a delivery that failed.
type echo struct{ status, reply string }

// ledger is what the server of bounces was told.
type ledger struct {
	mu     sync.Mutex
	failed map[int64]echo
	count  map[bounce.Kind]int
}

func (l *ledger) known(id int64) (echo, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.failed[id]
	return f, ok
}

func (l *ledger) counted(k bounce.Kind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[k]
}

// serveBounces serves bounces at the path until the test ends.
func serveBounces(t *testing.T, path string, secret []byte) *ledger {
	t.Helper()
	l := &ledger{failed: map[int64]echo{}, count: map[bounce.Kind]int{}}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // in the package it is the group postfix that may connect
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := bounce.Serve(ctx, ln, bounce.Options{
			Local: "dmarc-bounce",
			Known: func(_ context.Context, token string) (int64, error) {
				id, ok := report.ParseBounceToken(secret, token)
				if !ok {
					return 0, report.ErrUnknown
				}
				return id, nil
			},
			Failed: func(_ context.Context, id int64, status, reply string) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.failed[id] = echo{status, reply}
				return nil
			},
			Count: func(k bounce.Kind) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.count[k]++
			},
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return l
}

// TestReportBounces: the bounce that Postfix makes of a report comes back over LMTP and is recognised, and so is one that
// another host sends. Forged ones are refused, and nobody gets an answer.
func TestReportBounces(t *testing.T) {
	needPostfix(t)
	t.Parallel()
	reader := startReader(t)
	operator, _, _, path := startOperator(t, reader)
	secret := []byte("0123456789abcdef")
	l := serveBounces(t, path, secret)
	address := func(delivery int64) string {
		return report.BounceLocal("dmarc-bounce", report.BounceToken(secret, delivery)) + "@" + reportDomain
	}
	s := submitter(t, operator.smtp, nil)

	e := submit.Envelope{From: address(7), To: "refused@shop.test", ID: "20261128.k7q2"}
	if r, err := s.Submit(t.Context(), e, reportMail); err != nil || r.Kind != submit.Sent {
		t.Fatalf("%+v, %v", r, err)
	}
	eventually(t, "the bounce", func() bool { _, ok := l.known(7); return ok })
	if f, _ := l.known(7); f.status != "5.1.1" || !strings.HasPrefix(f.reply, "550 5.1.1 <refused@shop.test>: Recipient address rejected: nobody here") {
		t.Errorf("%+v", f)
	}

	// A mail that is delivered makes no bounce. Nor does one that is still being tried.
	if r, err := s.Submit(t.Context(), submit.Envelope{From: address(8), To: "rua@shop.test"}, reportMail); err != nil || r.Kind != submit.Sent {
		t.Fatalf("%+v, %v", r, err)
	}
	reader.inbox().wait(t, "rua@shop.test")
	checkTransport(t, s, operator)

	// A bounce of another host comes in by SMTP, with the null sender.
	text, err := os.ReadFile("../bounce/testdata/exim.eml")
	if err != nil {
		t.Fatal(err)
	}
	bring := func(from, to string) submit.Result {
		r, err := s.Submit(t.Context(), submit.Envelope{From: from, To: to}, func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return r
	}
	if r := bring("", address(9)); r.Kind != submit.Sent {
		t.Errorf("%+v", r)
	}
	eventually(t, "the bounce of another host", func() bool { _, ok := l.known(9); return ok })

	// Postfix itself refuses what is no bounce, so that it need not bounce it to a forged sender.
	if r := bring("victim@shop.test", address(10)); r.Kind != submit.Refused || r.Enhanced != "5.7.1" {
		t.Errorf("%+v", r)
	}
	const forged = 20
	for i := range forged {
		if r := bring("", fmt.Sprintf("dmarc-bounce+%d-abcdefgh@%s", i+1, reportDomain)); r.Kind != submit.Sent {
			t.Errorf("%+v", r)
		}
	}
	eventually(t, "the end of the forged bounces", func() bool { return l.counted(bounce.KindUnknown) == forged })
	eventually(t, "an empty queue", func() bool { return len((&postfix{etc: operator.etc()}).queue(t)) == 0 })
	if n := l.counted(bounce.KindFailed); n != 2 || l.counted(bounce.KindOther) != 0 {
		t.Errorf("%d failures, want 2; %d others", n, l.counted(bounce.KindOther))
	}
	if mail := reader.inbox().to(t, "victim@shop.test"); len(mail) != 0 {
		t.Error("a stranger got an answer")
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Error("the socket is gone")
	}
}

// checkTransport checks that reports, and only they, go by the transport of deploy/docs/reports.md, which bounds the
// connections to servers that strangers name.
func checkTransport(t *testing.T, s *submit.Submitter, operator *own) {
	t.Helper()
	for _, c := range []struct{ from, to, service string }{
		{"dmarc-bounce+1-abcdefgh@" + reportDomain, "by-reports@shop.test", "postfix/reports/smtp["},
		{"user@isp.test", "by-others@shop.test", "postfix/smtp["},
	} {
		if r, err := s.Submit(t.Context(), submit.Envelope{From: c.from, To: c.to}, reportMail); err != nil || r.Kind != submit.Sent {
			t.Fatalf("%+v, %v", r, err)
		}
		eventually(t, "the delivery to "+c.to, func() bool {
			for line := range strings.Lines(operator.log(t)) {
				if strings.Contains(line, "to=<"+c.to+">") && strings.Contains(line, "status=sent") {
					if !strings.Contains(line, c.service) {
						t.Errorf("%s, and not by %s", line, c.service)
					}
					return true
				}
			}
			return false
		})
	}
}
