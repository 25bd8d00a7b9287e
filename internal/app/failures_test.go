package app

import (
	"bufio"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
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

// TestFailureReport: a message that fails leads to a failure report, if such reports are on.
func TestFailureReport(t *testing.T) {
	cfg, _ := storeConfig(t)
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(nameserver.Serve(t, failureZone, nameserver.Options{}).Addr())}}
	var mails <-chan string
	cfg.Report.Mail.Server, mails = mailServer(t)
	cfg.Report.Mail.Bounces.Address = ""
	cfg.Report.Organization, cfg.Report.Domain, cfg.Report.Contact = "Example ISP", "dmarc.isp.example", "a@isp.example"
	cfg.Report.Aggregate.Always = []config.Pattern{"bank.example"}
	a, log, stop := running(t, cfg)
	send(t, a, "<x@evil.example>")
	if err := a.Reload(with(cfg, func(c *config.Config) { c.Report.Failure.Send = true })); err != nil {
		t.Fatal(err)
	}
	send(t, a, "<x@evil.example>")
	select {
	case mail := <-mails:
		for _, want := range []string{
			"MAIL FROM:<dmarc-bounce+", "@dmarc.isp.example>", "RCPT TO:<ruf@bank.example>", "Feedback-Type: auth-failure", "Source-IP: 192.0.2.1",
			"Reported-Domain: bank.example",
		} {
			if !strings.Contains(mail, want) {
				t.Errorf("the mail lacks %q:\n%s", want, mail)
			}
		}
		if strings.Contains(mail, "here.example>") {
			t.Errorf("the mail names the recipient:\n%s", mail)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("no report\n%s", log)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case mail := <-mails:
		t.Errorf("a second report:\n%s", mail)
	default:
	}
}
