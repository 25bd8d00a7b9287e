package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bench "sekimori/internal/bench/postfix"
	"sekimori/internal/testkit/loopback"
)

const (
	reportDomain = "dmarc.isp.test" // in which our reports are sent, and their bounces come back
	readerDomain = "shop.test"      // whose reports go to a Postfix of its own
)

// own is a private Postfix for tests of report mail.
type own struct {
	dir  string
	smtp string // host:port
	run  *bench.Instance
}

// startOwn starts a Postfix with additional lines of main.cf and master.cf. The services in master that need a TCP
// address get it from the caller. It stops when the test ends.
func startOwn(t *testing.T, name, main, master string) *own {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "seki") // below t.TempDir the paths of sockets would be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := &own{dir: dir, smtp: loopback.Address(t)}
	if err := bench.LayOut(p.dir, filepath.Join(dir, "mail")); err != nil {
		t.Fatal(err)
	}
	if err := makeCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"main.cf":   fmt.Sprintf(ownMainCF, dir, bench.Daemons, name) + strings.ReplaceAll(main, "DIR", dir),
		"master.cf": masterHead + ownMaster + p.smtp + " inet n - n - - smtpd\n" + strings.ReplaceAll(master, "DIR", dir),
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "etc", file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if p.run, err = bench.Start(filepath.Join(dir, "etc")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s:\n%s", name, p.log(t))
		}
		p.run.Stop()
	})
	eventually(t, "the start of "+name, func() bool {
		conn, err := net.Dial("tcp", p.smtp)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return p
}

// log returns the log of the instance.
func (p *own) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "maillog"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// documentedLines returns the lines of an example in deploy/docs/reports.md, from the line that begins with first, for the domain of the
// tests.
func documentedLines(t *testing.T, first string) string {
	t.Helper()
	page, err := os.ReadFile("../../deploy/docs/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	const indent = "    "
	_, rest, ok := strings.Cut(string(page), "\n"+indent+first)
	if !ok {
		t.Fatalf("no example that begins with %s", first)
	}
	text, _, _ := strings.Cut(rest, "\n\n")
	return strings.ReplaceAll(first+strings.ReplaceAll(text, "\n"+indent, "\n")+"\n", "dmarc.isp.example", reportDomain)
}

// etc is the directory of the instance's configuration.
func (p *own) etc() string { return filepath.Join(p.dir, "etc") }

// inbox is where the instance delivers mail of the domain readerDomain.
func (p *own) inbox() *inbox { return newInbox(filepath.Join(p.dir, "mail", "inbox")) }

const ownMainCF = `
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
daemon_directory = %[2]s
maillog_file = %[1]s/maillog
maillog_file_prefixes = %[1]s
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = %[3]s
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 127.0.0.0/8
enable_long_queue_ids = yes
in_flow_delay = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0
smtpd_tls_cert_file = %[1]s/cert.pem
smtpd_tls_key_file = %[1]s/key.pem
`

const ownMaster = `
tlsmgr unix - - n 1000? 1 tlsmgr
smtp unix - - n - - smtp
lmtp unix - - y - - lmtp
`

// readerCF makes a Postfix the one that takes the reports for readerDomain. User and group 65534 are
// Debian's nobody and nogroup.
const readerCF = `
virtual_mailbox_domains = ` + readerDomain + `
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = static:inbox/
virtual_mailbox_limit = 0
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{
  {refused@shop.test = 550 5.1.1 nobody here},
  {full@shop.test = 452 4.2.2 mailbox full},
  {busy@shop.test = 421 4.3.2 come again},
  {slow@shop.test = sleep 20}}
`

// startReader starts the Postfix that takes the reports.
func startReader(t *testing.T) *own {
	t.Helper()
	return startOwn(t, "mx."+readerDomain, readerCF, "")
}

// operatorCF makes a Postfix the operator's, together with the lines of deploy/docs/reports.md: reports come in, bounces go
// to the daemon, and all other mail goes to the reader, reports by a transport of their own.
const operatorCF = `
relayhost = [READERHOST]:READERPORT
smtpd_relay_restrictions = check_recipient_access inline:{{stuck@shop.test = sleep 5}}, permit_mynetworks, reject_unauth_destination
`

// startOperator starts the operator's Postfix. Besides its usual listener it has one with STARTTLS and one that asks for a login.
func startOperator(t *testing.T, reader *own) (p *own, encrypted, login, bounces string) {
	t.Helper()
	encrypted, login = loopback.Address(t), loopback.Address(t)
	host, port, _ := net.SplitHostPort(reader.smtp)
	main := strings.NewReplacer("READERHOST", host, "READERPORT", port).Replace(operatorCF) + documentedLines(t, "recipient_delimiter = +") +
		documentedLines(t, "sender_dependent_default_transport_maps = ")
	p = startOwn(t, "mx.isp.test", main, documentedLines(t, "reports unix ")+encrypted+" inet n - n - - smtpd -o smtpd_tls_security_level=may\n"+
		login+" inet n - n - - smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot -o smtpd_sasl_path=DIR/auth"+
		" -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n")
	ln, err := serveAuth(filepath.Join(p.dir, "auth"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	dir := filepath.Join(p.dir, "queue", "sekimori")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return p, encrypted, login, filepath.Join(dir, "bounces.sock")
}
