package app

import (
	"bufio"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

const failureZone = `
bank.example         TXT "v=spf1 ip4:198.51.100.1 -all"
bank.example         A 198.51.100.1
_dmarc.bank.example  TXT "v=DMARC1; p=reject; rua=mailto:rua@bank.example; ruf=mailto:ruf@bank.example"
`

// mailServer takes one mail after the other, and returns them with their envelopes.
func mailServer(t *testing.T) (address string, mails <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	out := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go takeMail(c, out)
		}
	}()
	return l.Addr().String(), out
}

func takeMail(c net.Conn, out chan<- string) {
	defer c.Close()
	r := bufio.NewReader(c)
	say := func(s string) { _, _ = c.Write([]byte(s + "\r\n")) }
	say("220 mail.example ESMTP")
	var mail strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		switch verb {
		case "DATA":
			say("354 go on")
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				mail.WriteString(line)
			}
			out <- mail.String()
			mail.Reset()
			say("250 2.0.0 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			mail.WriteString(line)
			say("250 ok")
		}
	}
}

// forge sends a message whose author is a@bank.example from an address that bank.example does not send
// from. Its Message-ID names id.
func forge(t *testing.T, a *App, id string, to ...string) {
	t.Helper()
	peer := mta.Peer{Name: "mail.evil.example", Addr: netip.MustParseAddrPort("192.0.2.1:25"), HELO: "mail.evil.example"}
	_, err := mta.Send("tcp", a.Addrs()[0].String(), peer, client.Envelope{From: "<x@evil.example>", To: to, QueueID: "4QUEUE"},
		[]byte("From: Ann <a@bank.example>\r\nTo: Rita <r@here.example>\r\nMessage-ID: <1@"+id+".bank.example>\r\nSubject: the subject\r\n\r\nhidden text\r\n"))
	if err != nil {
		t.Fatal(err)
	}
}

// bounceOf brings a notification that the mail came back, over LMTP.
func bounceOf(t *testing.T, address, mail string) {
	t.Helper()
	from, _, _ := strings.Cut(mail[strings.Index(mail, "MAIL FROM:<")+len("MAIL FROM:<"):], ">")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := textproto.NewReader(bufio.NewReader(c))
	const notification = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n" +
		"Reporting-MTA: dns; mail.example\r\n\r\nFinal-Recipient: rfc822; ruf@bank.example\r\nAction: failed\r\nStatus: 5.1.1\r\n" +
		"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--b--\r\n.\r\n"
	for _, step := range []struct {
		say  string
		code int
	}{{"", 220}, {"LHLO mail.example\r\n", 250}, {"MAIL FROM:<>\r\n", 250}, {"RCPT TO:<" + from + ">\r\n", 250}, {"DATA\r\n", 354}, {notification, 250}} {
		_, _ = c.Write([]byte(step.say))
		if _, text, err := r.ReadResponse(step.code); err != nil {
			t.Fatalf("%q: %s %v", step.say, text, err)
		}
	}
}

// TestFailureReport: of six messages that fail, one is reported, to ruf of its domain. It is the first one
// that came while such reports were on and whose recipients had all agreed. The report has no recipient, no
// body and no subject. Its bounce is heard, also after a reload.
func TestFailureReport(t *testing.T) {
	cfg, path := storeConfig(t)
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(nameserver.Serve(t, failureZone, nameserver.Options{}).Addr())}}
	cfg.Policy.Recipients.File = filepath.Join(t.TempDir(), "opted-out")
	if err := os.WriteFile(cfg.Policy.Recipients.File, []byte("out@here.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var mails <-chan string
	cfg.Report.Mail.Server, mails = mailServer(t)
	cfg.Report.Mail.Bounces.Address = "inet:127.0.0.1:0"
	cfg.Report.Organization, cfg.Report.Domain, cfg.Report.Contact = "Example ISP", "dmarc.isp.example", "a@isp.example"
	cfg.Report.Aggregate.Always = []config.Pattern{"bank.example"}
	var metrics *prometheus.Registry
	a, log, stop := running(t, cfg, func(o *Options) { metrics = o.Registry })
	forge(t, a, "off", "<r@here.example>")
	sends := func(c *config.Config) { c.Report.Failure.Send = true }
	if err := a.Reload(with(cfg, sends)); err != nil {
		t.Fatal(err)
	}
	forge(t, a, "opted-out", "<out@here.example>")
	forge(t, a, "mixed", "<r@here.example>", "<out@here.example>")
	forge(t, a, "agreed", "<r@here.example>", "<s@here.example>")
	forge(t, a, "merged", "<r@here.example>")
	var mail string
	select {
	case mail = <-mails:
	case <-time.After(20 * time.Second):
		t.Fatalf("no report\n%s", log)
	}
	for _, want := range []string{
		"MAIL FROM:<dmarc-bounce+", "@dmarc.isp.example>", "RCPT TO:<ruf@bank.example>", "Feedback-Type: auth-failure", "Source-IP: 192.0.2.1",
		"Reported-Domain: bank.example", "Delivery-Result: reject", "@agreed.bank.example>", "Incidents: 1\r\n",
	} {
		if !strings.Contains(mail, want) {
			t.Errorf("the mail lacks %q:\n%s", want, mail)
		}
	}
	for _, private := range []string{"here.example>", "Rita", "Ann", "hidden", "the subject", "<a@bank.example>"} {
		if strings.Contains(mail, private) {
			t.Errorf("the mail has %q:\n%s", private, mail)
		}
	}
	if err := a.Reload(with(cfg, sends, monitor)); err != nil {
		t.Fatal(err)
	}
	forge(t, a, "reloaded", "<r@here.example>") // within the hour
	a.mu.Lock()
	bounces := a.bounces.listeners[0].Addr().String()
	a.mu.Unlock()
	bounceOf(t, bounces, mail)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case mail := <-mails:
		t.Errorf("a second report:\n%s", mail)
	default:
	}
	for name, want := range map[string]float64{
		"sekimori_failure_reports_total sent": 1, "sekimori_failure_reports_total dropped": 0, "sekimori_reports_sent_total sent": 1,
		"sekimori_report_bounces_total failed": 1,
	} {
		if got := counted(t, metrics, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if s, err := db.Suppression(t.Context(), "ruf@bank.example"); err != nil || !s.Suppressed(time.Now()) {
		t.Errorf("after the bounce: %+v, %v", s, err)
	}
}

// counted returns a counter. The name is that of the metric and the value of its only label.
func counted(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 1 && f.GetName()+" "+m.GetLabel()[0].GetValue() == name {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Errorf("no %s", name)
	return 0
}
