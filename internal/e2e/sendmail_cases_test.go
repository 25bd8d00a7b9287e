package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"sekimori/internal/milter"
	"sekimori/internal/milter/sockets"
	"sekimori/internal/smtp"
)

// TestSendmailHarness tests the harness for Sendmail with the milter witness in place of our
// daemon, as TestHarness does for Postfix.
func TestSendmailHarness(t *testing.T) {
	m := sharedSendmail(t)
	t.Parallel()
	sl := m.take(t, plain)
	if r := sl.attempt(bankMX, "a@bank.example", recipient(), mail{from: "a@bank.example"}.bytes()); r.code != 451 {
		t.Errorf("without a milter: %v, want 451", r)
	}
	serveWitness(t, sl)
	for _, p := range []struct {
		peer
		want string
	}{
		{bankMX, "[192.0.2.10]/tcp4/192.0.2.10 mail.bank.example"},
		// Sendmail writes "IPv6:" and then all eight groups. go-milter cannot parse such an
		// address, so it shows <nil>. TestVerdicts shows that our daemon can parse it.
		{sixMX, "[IPv6:2001:db8:0:0:0:0:0:25]/tcp6/<nil> mail.six.example"},
	} {
		sl.witnessed(t, p.peer, p.want)
	}
	id := sl.post(t, bankMX, "a@bank.example", recipient(), mail{from: "a@bank.example", subject: "hold me"}.bytes()).accepted(t)
	if got := m.held(t, id).all("X-Witness"); len(got) != 1 {
		t.Errorf("the held message has %d fields of the milter's", len(got))
	}
}

// TestSendmailWithoutAnswer: if no daemon runs, or if the daemon dies within a session, Sendmail
// does what F= in the filter line says. Without F= it delivers mail without a label.
func TestSendmailWithoutAnswer(t *testing.T) {
	s := sharedSendmail(t)
	t.Parallel()
	message := mail{from: "info@bank.example", extra: forgedResults[:1]}.bytes()
	for _, c := range []struct {
		kind kind
		why  string
		code int
		text string // how the reply's text begins
	}{
		{plain, "F=T: try again later", 451, "4.3.2 "},
		{unfailing, "no F=: as if there were no filter", 250, "2.0.0 "},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			sl := s.take(t, c.kind)
			to := recipient()
			if r := sl.attempt(spoofer, unique("@bank.example"), to, message); r.code != c.code || !strings.HasPrefix(r.text, c.text) {
				t.Fatalf("without a daemon: %s, want %d because %s", r, c.code, c.why)
			}
			if c.code == 250 {
				// The message still has its forged field. This is why the deployed line has F=T.
				if d := run.inbox.wait(t, to); len(d.ours()) != 1 {
					t.Errorf("somebody has changed the message:\n%s", d.header())
				}
			}

			m := newMXAt(t, sl, nil)
			session := m.open(t, bankMX)
			before := recipient()
			session.offer(t, unique("@bank.example"), before, mail{from: "info@bank.example"}.bytes()).accepted(t)
			run.inbox.wait(t, before).label(t).want(t, "dmarc=pass")
			m.kill()
			after := recipient()
			r, err := session.send(unique("@bank.example"), []string{after}, mail{from: "info@bank.example"}.bytes())
			if err != nil || r.code != c.code || !strings.HasPrefix(r.text, c.text) {
				t.Fatalf("in the session after the daemon's death: %v, %v, want %d because %s", r, err, c.code, c.why)
			}
			if c.code == 250 && len(run.inbox.wait(t, after).ours()) != 0 {
				t.Error("there is a label all the same")
			}
		})
	}
}

// TestSendmailSilentDNS: Sendmail waits at most 10 seconds (R:10s) for each answer of the milter.
// At the end of the message the wait begins again with each sign of progress. In this test DNS does
// not answer for 13 seconds, and the message is still accepted. The daemon waits for DNS only at
// the end of the message, and there it shows progress.
func TestSendmailSilentDNS(t *testing.T) {
	s := sharedSendmail(t)
	t.Parallel()
	const budget = 13 // seconds
	dns, _ := silentDNS(t)
	m := newMXAt(t, s.take(t, plain), settings{
		"dns": fmt.Sprintf("{servers: [%q], timeout: 20s, message_budget: %ds}", dns, budget),
	})
	to := recipient()
	message := signed(t, mail{from: "info@bank.example"}.bytes(), "bank.example", "s1")
	id := m.post(t, spoofer, unique("@bank.example"), to, message).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=temperror", "dkim=temperror", "dmarc=temperror header.from=bank.example")
	if took, ok := m.evaluated(t, "queue_id", id)["duration_seconds"].(float64); !ok || took <= 10 {
		t.Errorf("the end of the message took %v s, which proves nothing about R:10s", took)
	}
}

// TestSendmailHeaderSize: Sendmail's MaxHeadersLength (32768 octets) is lower than our own limit.
// Sendmail refuses a longer header, and the session goes on. All of a shorter header is evaluated.
func TestSendmailHeaderSize(t *testing.T) {
	s := sharedSendmail(t)
	t.Parallel()
	m := sharedMX(t, s.slots)
	c := m.open(t, newsMX)
	filler := []byte("X-Filler: " + strings.Repeat("y", 60) + "\r\n")
	message := signed(t, mail{from: "letter@news.example"}.bytes(), "news.example", "s1")

	to := recipient()
	r := c.offer(t, unique("@news.example"), to, append(bytes.Repeat(filler, 50_000), message...))
	if r.code != 552 {
		t.Errorf("a header of 3.6 MB got %s, want Sendmail's 552", r)
	}
	to = recipient()
	c.offer(t, unique("@news.example"), to, append(bytes.Repeat(filler, 400), message...)).accepted(t)
	d := run.inbox.wait(t, to)
	d.label(t).want(t, "spf=pass", "dkim=pass", "dmarc=pass")
	if got := len(d.all("X-Filler")); got != 400 {
		t.Errorf("%d fields arrived, want 400", got)
	}
}

// TestSendmailQuarantine: the queue file of a quarantined message has the reason that mailq -qQ
// shows to the postmaster. When the postmaster releases the message, it is delivered with its
// label.
func TestSendmailQuarantine(t *testing.T) {
	s := sharedSendmail(t)
	t.Parallel()
	m := sharedMX(t, s.slots)
	to := recipient()
	id := m.post(t, spoofer, unique("@shop.example"), to, mail{from: "sale@shop.example"}.bytes()).accepted(t)
	s.held(t, id)
	if out, err := s.tool("-bp"); err != nil || bytes.Contains(out, []byte(id)) {
		t.Errorf("a plain mailq shows message %s too: %v\n%s", id, err, out)
	}
	control, err := os.ReadFile(filepath.Join(s.dir, "queue", "hf"+id))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(control, []byte("\nq"))
	reason, _, _ := bytes.Cut(rest, []byte("\n"))
	if want := []byte("dmarc_quarantine "); !bytes.HasPrefix(reason, want) {
		t.Errorf("the reason is %q, want %s and the id of the log", reason, want)
	}
	for _, step := range [][]string{{"-qQ", "-qI" + id, "-Q"}, {"-qI" + id}} { // take the message out of quarantine, then deliver it
		if out, err := s.tool(step...); err != nil {
			t.Fatalf("sendmail %s: %v\n%s", step, err, out)
		}
	}
	run.inbox.wait(t, to).label(t).want(t, "spf=fail", "dmarc=fail header.from=shop.example")
}

// TestHeaderAsWritten: a signature with simple header canonicalization covers every octet of a
// field. It is valid only if the MTA passes the space between colon and value to the daemon, and
// the daemon includes this space in the hash.
func TestHeaderAsWritten(t *testing.T) {
	behindEach(t, plain, nil, testHeaderAsWritten)
}

func testHeaderAsWritten(t *testing.T, m *mx) {
	for _, subject := range []string{"Subject:none", "Subject: one", "Subject:   three", "Subject:\ttab", "Subject:\r\n folded", "Subject: a\r\n\t  b \r\n c\t"} {
		t.Run(fmt.Sprintf("%q", subject), func(t *testing.T) {
			message := bytes.Replace(mail{from: "letter@news.example", subject: "here"}.bytes(), []byte("Subject: here"), []byte(subject), 1)
			var out bytes.Buffer
			err := dkim.Sign(&out, bytes.NewReader(message), &dkim.SignOptions{
				Domain: "news.example", Selector: "s1", Signer: run.keys.rsa, HeaderKeys: []string{"From", "Subject"},
				HeaderCanonicalization: dkim.CanonicalizationSimple, BodyCanonicalization: dkim.CanonicalizationSimple,
			})
			if err != nil {
				t.Fatal(err)
			}
			to := recipient()
			m.post(t, spoofer, unique("@plain.example"), to, out.Bytes()).accepted(t)
			run.inbox.wait(t, to).label(t).want(t, "dkim=pass", "dmarc=pass")
		})
	}
}

// probe is a milter made with our own package milter. It records what the MTA tells it, and refuses
// each message with a text that contains "%".
type probe struct {
	conn *milter.Conn
	addr string
	// seen receives the values of some macros at the end of the message, and the client's address
	// under the key "client".
	seen chan map[string]string
}

const percentText = "100% of 5 %d and %s, 50%% and %"

func (p *probe) Connect(c milter.Connect) milter.Reply {
	p.addr = c.Addr.Addr().String()
	return milter.Continue
}
func (*probe) Helo(string) milter.Reply           { return milter.Continue }
func (*probe) Mail(string, []string) milter.Reply { return milter.Continue }
func (*probe) Rcpt(string, []string) milter.Reply { return milter.Continue }
func (*probe) Data() milter.Reply                 { return milter.Continue }
func (*probe) Header(_, _ string) milter.Reply    { return milter.Continue }
func (*probe) EndOfHeader() milter.Reply          { return milter.Continue }
func (*probe) Body([]byte) milter.Reply           { return milter.Continue }
func (*probe) Abort()                             {}
func (*probe) Close(milter.End)                   {}
func (p *probe) EndOfMessage(context.Context, *milter.Modifier) milter.Reply {
	seen := map[string]string{"client": p.addr}
	for _, name := range []string{"i", "j", "{auth_authen}", "{auth_type}", "{tls_version}"} {
		seen[name] = p.conn.Macro(name)
	}
	p.seen <- seen
	return milter.Custom(smtp.New(550, "5.7.1", percentText))
}

// serveProbe starts a milter server with a probe on ln. The returned channel receives what the
// probe saw for the message that the test sends.
func serveProbe(t *testing.T, ln net.Listener) <-chan map[string]string {
	t.Helper()
	seen := make(chan map[string]string, 1)
	server := milter.New(milter.Options{NewSession: func(c *milter.Conn) milter.Session {
		return &probe{conn: c, seen: seen}
	}})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(ln); !errors.Is(err, milter.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	return seen
}

// TestPercentInReply: a "%" in a milter's reply text reaches the client. MTAs use the text as a
// format string, so our package milter must escape "%". Sendmail drops the whole text if the format
// is invalid.
func TestPercentInReply(t *testing.T) {
	eachMTA(t, func(t *testing.T, from slots) {
		sl := from.take(t, plain)
		listeners, err := sockets.Config{Address: sl.milter}.Listen()
		if err != nil {
			t.Fatal(err)
		}
		serveProbe(t, listeners[0])
		r := sl.post(t, bankMX, "a@bank.example", recipient(), mail{from: "a@bank.example"}.bytes())
		if want := "550 5.7.1 " + percentText; r.String() != want {
			t.Errorf("the client was told %q, want %q", r, want)
		}
	})
}

// TestSendmailMacros: Sendmail sends the queue id, the TLS version and the login, because the
// daemon asks for these macros. The macro lines in deploy/sendmail/sekimori.mc are not needed for
// that, and this test does not use them. The MTA reaches the milter by TCP, as the README
// describes.
func TestSendmailMacros(t *testing.T) {
	s := sharedSendmail(t)
	t.Parallel()
	sl := s.take(t, tcp)
	ln, err := s.listen(sl)
	if err != nil {
		t.Fatal(err)
	}
	told := serveProbe(t, ln)
	c := sl.open(t, sixMX)
	if err := c.startTLS(sixMX.helo); err != nil {
		t.Fatal(err)
	}
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	if r := c.offer(t, "a@six.example", recipient(), mail{from: "a@six.example"}.bytes()); r.code != 550 {
		t.Fatalf("the probe's refusal came as %s", r)
	}
	c.close()
	seen := <-told
	for name, want := range map[string]string{
		"client": sixMX.addr, "j": "mx.test", "{auth_authen}": "alice", "{auth_type}": "PLAIN", "{tls_version}": "TLSv1.3",
	} {
		if got := seen[name]; got != want {
			t.Errorf("macro %s is %q, want %q", name, got, want)
		}
	}
	if seen["i"] == "" {
		t.Error("there is no queue id")
	}
}

// startTLS starts TLS and sends EHLO again.
func (c *session) startTLS(helo string) error {
	if r, err := c.cmd("STARTTLS"); err != nil || r.code != 220 {
		return errors.Join(err, &refusal{r})
	}
	conn := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's certificate is self-signed
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.conn, c.text = conn, textproto.NewConn(conn)
	r, err := c.cmd("EHLO %s", helo)
	if err == nil && r.code != 250 {
		err = &refusal{r}
	}
	return err
}
