package attack

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/naive"
	"sekimori/internal/testkit/readers"
)

// labels collects all different Authentication-Results fields that the daemons wrote during the
// tests.
var labels collection

type collection struct {
	mu     sync.Mutex
	seen   map[string]bool
	values []string
	want   []naive.Field
}

func (c *collection) add(value string, want naive.Field) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if !c.seen[value] {
		c.seen[value] = true
		c.values, c.want = append(c.values, value), append(c.want, want)
	}
}

// TestMain runs the tests. Then it gives the collected fields to real programs that read such
// fields. None of the programs may see a result that the daemon did not mean.
func TestMain(m *testing.M) {
	code := m.Run()
	if len(labels.values) > 0 {
		found, missing := readers.Available()
		wrong := readers.Check(found, labels.values, labels.want)
		if missing != nil && os.Getenv("CI") == "true" {
			wrong = append(wrong, missing.Error())
		}
		for _, w := range wrong {
			fmt.Println("attack: " + w)
		}
		if len(wrong) > 0 {
			fmt.Println("FAIL")
			code = 1
		}
	}
	os.Exit(code)
}

// openDMARC is a running opendmarc that trusts Authentication-Results fields with our authserv-id.
type openDMARC struct {
	t    *testing.T
	addr string
}

// startOpenDMARC starts opendmarc with DNS data that has p=reject for each author. So its result is
// pass only if our field has an aligned pass.
func startOpenDMARC(t *testing.T, authors []string) openDMARC {
	t.Helper()
	program, err := exec.LookPath("opendmarc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("opendmarc is not installed")
	}
	dir := t.TempDir()
	o := openDMARC{t, filepath.Join(dir, "socket")}
	var dns strings.Builder
	for _, a := range authors {
		fmt.Fprintf(&dns, "_dmarc.%s v=DMARC1; p=reject\n", a)
	}
	config := "Socket unix:" + o.addr + "\nSyslog false\nAuthservID reader.example\nTrustedAuthservIDs " + authServID +
		"\nRejectFailures false\nSPFIgnoreResults false\nSPFSelfValidate false\nTestDNSData " + filepath.Join(dir, "dns") + "\n"
	for name, text := range map[string]string{"dns": dns.String(), "conf": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-f", "-c", filepath.Join(dir, "conf"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", o.addr); err == nil {
			conn.Close()
			return o
		}
		if time.Now().After(end) {
			t.Fatal("opendmarc does not listen")
		}
	}
}

// read sends opendmarc a message with our field on top, and returns the DMARC result of opendmarc.
func (o openDMARC) read(label, mailFrom, author string) string {
	o.t.Helper()
	c, err := client.Dial("unix", o.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	defer c.Close()
	if _, err = c.Negotiate(client.PostfixOffer()); err == nil {
		_, err = c.Connect("mail.attacker.example", netip.MustParseAddrPort("192.0.2.66:25"))
	}
	if err == nil {
		_, err = c.Helo("mail.attacker.example")
	}
	if err != nil {
		o.t.Fatal(err)
	}
	res, err := c.SendMessage(client.Envelope{From: "<a@" + mailFrom + ">", To: []string{"<b@here.example>"}, QueueID: "4Q"},
		[]byte("Authentication-Results:"+label+"\r\nFrom: a@"+author+"\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\nSubject: s\r\n\r\nbody\r\n"))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, m := range res.Modifications {
		if _, after, found := strings.Cut(m.Value, "dmarc="); found {
			word, _, _ := strings.Cut(after, " ")
			return word
		}
	}
	return ""
}

// TestOpenDMARC checks that opendmarc, which trusts our field, says pass exactly for those messages
// that passed in our daemon. The attacker must not be able to change that by what he writes into a
// message. opendmarc must also understand our field if the message has many signatures that fail.
func TestOpenDMARC(t *testing.T) {
	d := start(t, "", func(c *config.Config) { c.Headers.MailFrom = "domain" }) // opendmarc ignores smtp.mailfrom if its value is an address
	o := startOpenDMARC(t, []string{"attacker.example", "bank.example"})
	signatures := strings.Repeat("DKIM-Signature: v=1; a=rsa-sha256; d=bank.example; s=s; i=a.long.local.part@bank.example; h=from; bh=AAAA; b=AAAA\r\n", 20)
	for _, tt := range []struct {
		why, mailFrom, author, fields, want string
	}{
		{"what we pass", "x@attacker.example", "attacker.example", "", "pass"},
		{"beside signatures that fail", "x@attacker.example", "attacker.example", signatures, "pass"},
		{"another author", "x@attacker.example", "bank.example", "", "fail"},
		{"beside signatures of his that fail", "x@attacker.example", "bank.example", signatures, "fail"},
		{"results in a local part", `"; spf=pass smtp.mailfrom=bank.example; dkim=pass header.d=bank.example"@attacker.example`, "bank.example", "", "fail"},
		{"out of the quotes", `"\"; dkim=pass header.d=bank.example; x=\""@attacker.example`, "bank.example", "", "fail"},
		{"results in i=", "x@attacker.example", "bank.example", "DKIM-Signature: v=1; a=rsa-sha256; d=attacker.example; s=s; h=from; bh=AAAA; b=AAAA;\r\n " +
			"i=\"x=3B=20dkim=3Dpass=20header.d=3Dbank.example\"@attacker.example\r\n", "fail"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			out := d.send(t, attempt{mailFrom: "<" + tt.mailFrom + ">", fields: tt.fields, from: []string{" a@" + tt.author}, queries: 100})
			_, domain, _ := strings.Cut(tt.mailFrom, "@attacker")
			if got := o.read(out.header[0].Value, "attacker"+domain, tt.author); got != tt.want {
				t.Errorf("opendmarc says dmarc=%s, want %s:\n%s", got, tt.want, out.header[0].Value)
			}
		})
	}
}
