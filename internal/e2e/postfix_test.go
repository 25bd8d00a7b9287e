package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bench "sekimori/internal/bench/postfix"
)

const (
	// localDomain is the domain for which the MTA of the tests accepts and delivers mail.
	localDomain = "rcpt.test"
	// refusedRecipient is a recipient that the MTA itself refuses.
	refusedRecipient = "refused@" + localDomain
)

// kind names the property in which a listener differs from other listeners.
type kind string

const (
	plain  kind = "plain"  // milter over TCP, nothing else special
	socket kind = "socket" // milter over a unix socket
	login  kind = "login"  // offers AUTH
	filed  kind = "filed"  // has milter_header_checks, so it acts on the fields that the milter adds
	before kind = "before" // has smtpd_proxy_filter; a second smtpd behind it also has the milter, except in the first slot
	front  kind = "front"  // has no milter; it hands its mail on to a second smtpd, which has it
)

// frontName is the name that the listeners of the kind "front" write into Received.
const frontName = "backup.test"

// slot is one listener of an MTA, with the address at which the MTA looks for a milter.
type slot struct {
	kind   kind
	name   string
	smtp   string // address of the SMTP listener, host:port
	milter string // address of the milter as sekimori and Postfix write it: inet:… or unix:…
	admin  string // host:port for the daemon's admin address
	mta    mta
}

// postfix is a private instance of Postfix.
type postfix struct {
	etc   string
	spool string
	log   string
	slots
	run  *bench.Instance
	auth net.Listener
}

func startPostfix(dir, host, mail string) (*postfix, error) {
	p := &postfix{etc: filepath.Join(dir, "etc"), spool: filepath.Join(dir, "queue"), log: filepath.Join(dir, "maillog"), slots: slots{}}
	if err := bench.LayOut(dir, mail); err != nil {
		return nil, err
	}
	var err error
	if p.auth, err = serveAuth(filepath.Join(dir, "auth")); err != nil {
		return nil, err
	}
	master := masterHead
	for _, group := range []struct {
		kind  kind
		count int
	}{{plain, 8}, {socket, 1}, {login, 2}, {filed, 1}, {before, 2}, {front, 1}} {
		p.slots[group.kind] = make(chan slot, group.count)
		for i := range group.count {
			s := newSlot(p, group.kind, i, host, dir)
			master += s.masterEntry()
			p.slots[group.kind] <- s
		}
	}
	checks, err := headerChecks()
	if err != nil {
		return nil, err
	}
	master += fmt.Sprintf(filingCleanup, p.etc)
	files := map[string]string{
		"milter_header_checks": checks,
		"main.cf":              fmt.Sprintf(mainCF, dir, mail, p.log, bench.Daemons),
		"master.cf":            master,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.etc, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return p, p.start()
}

// basePorts has the first port of each kind of slot. The SMTP, milter and admin ports are all below
// the range that the kernel uses for outgoing connections.
var basePorts = map[kind]int{plain: 2500, socket: 2600, login: 2700, filed: 2800, before: 3100, front: 3200}

func newSlot(p *postfix, k kind, i int, host, dir string) slot {
	port := basePorts[k] + i
	s := slot{
		kind:   k,
		name:   fmt.Sprintf("%s%d", k, i),
		smtp:   fmt.Sprintf("%s:%d", host, port),
		milter: fmt.Sprintf("inet:%s:%d", host, 10000+port),
		admin:  fmt.Sprintf("%s:%d", host, 20000+port),
		mta:    p,
	}
	if k == socket {
		s.milter = fmt.Sprintf("unix:%s/run/%s.sock", dir, s.name)
	}
	return s
}

// masterEntry returns the lines of master.cf for the slot's smtpd. They contain the address of the
// milter.
func (s slot) masterEntry() string {
	if s.kind == front {
		behind := s.behind()
		bind, _, _ := net.SplitHostPort(s.smtp)
		to := "[" + strings.Replace(behind, ":", "]:", 1)
		return s.smtp + " inet n - n - - smtpd -o myhostname=" + frontName + " -o content_filter=relay:" + to + " -o syslog_name=postfix/front-" + s.name + "\n" +
			behind + " inet n - n - - smtpd -o smtpd_milters=" + s.milter + " -o syslog_name=postfix/" + s.name + "\n" +
			"relay unix - - n - - smtp -o smtp_bind_address=" + bind + "\n"
	}
	entry := s.smtp + " inet n - n - - smtpd -o smtpd_milters=" + s.milter + " -o syslog_name=postfix/" + s.name
	if s.kind == login {
		entry += " -o smtpd_sasl_auth_enable=yes"
	}
	if s.kind == filed {
		entry += " -o cleanup_service_name=filing"
	}
	if s.kind == before {
		behind := s.behind()
		entry += " -o smtpd_proxy_filter=" + behind + "\n" + behind + " inet n - n - - smtpd -o syslog_name=postfix/behind-" + s.name
		if !strings.HasSuffix(s.name, "0") {
			entry += " -o smtpd_milters=" + s.milter
		}
	}
	return entry + "\n"
}

// behind returns the address of the second smtpd of a listener of the kind "before" or "front".
func (s slot) behind() string {
	host, port, _ := net.SplitHostPort(s.smtp)
	n, _ := strconv.Atoi(port)
	return net.JoinHostPort(host, strconv.Itoa(n+proxied))
}

// proxied is the difference between two ports: the port of a listener of the kind "before" or
// "front", and the port of the smtpd behind it.
const proxied = 50

// filingCleanup is the line of master.cf for a cleanup service that is used only by listeners of
// the kind "filed". These listeners need their own service because milter_header_checks is a
// parameter of cleanup, not of smtpd.
const filingCleanup = "filing unix n - n - 0 cleanup -o milter_header_checks=regexp:%s/milter_header_checks\n"

// quarantineBox replaces the address after REDIRECT in the example
// deploy/postfix/milter_header_checks.
const quarantineBox = "quarantine@" + localDomain

// headerChecks returns the text of deploy/postfix/milter_header_checks, in which the address after
// REDIRECT is replaced by quarantineBox.
func headerChecks() (string, error) {
	root, err := repoRoot()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "postfix", "milter_header_checks"))
	return strings.ReplaceAll(string(text), "quarantine@example.jp", quarantineBox), err
}

const masterHead = `
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
showq unix n - n - - showq
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// milter_protocol and milter_default_action have the values of deploy/postfix/main.cf. Two of the
// milter timeouts are shorter than in that file. User and group 65534 are Debian's nobody and
// nogroup.
const mainCF = `
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
daemon_directory = %[4]s
maillog_file = %[3]s
maillog_file_prefixes = %[1]s
inet_interfaces = loopback-only
inet_protocols = all
myhostname = mx.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
local_header_rewrite_clients =
virtual_mailbox_domains = rcpt.test
virtual_mailbox_base = %[2]s
virtual_mailbox_maps = static:inbox/
virtual_mailbox_limit = 0
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
message_size_limit = 52428800
enable_long_queue_ids = yes
in_flow_delay = 0
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s

mynetworks = 127.0.0.0/8
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{{refused@rcpt.test = 550 5.1.1 nobody here}}
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_client_event_limit_exceptions = static:all
smtpd_sasl_type = dovecot
smtpd_sasl_path = %[1]s/auth
smtpd_sasl_security_options = noanonymous

milter_protocol = 6
milter_default_action = tempfail
milter_connect_timeout = 10s
milter_command_timeout = 30s
milter_content_timeout = 60s
`

func (p *postfix) start() error {
	var err error
	if p.run, err = bench.Start(p.etc); err != nil {
		return err
	}
	first := <-p.slots[plain]
	p.slots[plain] <- first
	up := within(patience, func() bool {
		conn, err := net.DialTimeout("tcp", first.smtp, time.Second)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	if !up {
		p.stop()
		return fmt.Errorf("postfix did not start; its log:\n%s\nand master on a terminal says:\n%s", p.tail(""), p.diagnose())
	}
	return nil
}

// diagnose starts Postfix's master on a terminal and returns its output. If master finds a mistake
// before it has read its configuration, it writes the error only to a terminal.
func (p *postfix) diagnose() []byte {
	out, _ := exec.Command("script", "-qec", "timeout 3 "+bench.Master+" -c "+p.etc+" -t", "/dev/null").CombinedOutput()
	return out
}

func (p *postfix) stop() {
	if p.run != nil {
		p.run.Stop()
		p.run = nil
	}
	_ = p.auth.Close()
}

func (p *postfix) said(s slot) string { return p.tail("/" + s.name + "/") }

// tail returns the last lines of Postfix's log that contain the given text.
func (p *postfix) tail(what string) string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, what) {
			lines = append(lines, line)
		}
	}
	const enough = 40
	return strings.Join(lines[max(0, len(lines)-enough):], "")
}

// queued is one line of postqueue -j.
type queued struct {
	Queue string `json:"queue_name"`
	ID    string `json:"queue_id"`
}

// queue returns the messages that Postfix has not delivered yet. The key is the queue id, and the
// value is the name of the queue that the message is in.
func (p *postfix) queue(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("postqueue", "-c", p.etc, "-j").Output()
	if err != nil {
		t.Fatalf("postqueue: %v", err)
	}
	where := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var q queued
		if err := dec.Decode(&q); err == io.EOF {
			return where
		} else if err != nil {
			t.Fatalf("postqueue: %v in %s", err, out)
		}
		where[q.ID] = q.Queue
	}
}

// holds reports whether message id is in the directory of the HOLD queue. This is cheaper than
// postqueue, so tests can call it often.
func (p *postfix) holds(id string) bool {
	_, err := os.Stat(filepath.Join(p.spool, "hold", id))
	return err == nil
}

// held waits until message id is in the HOLD queue and returns it.
func (p *postfix) held(t *testing.T, id string) delivery {
	t.Helper()
	eventually(t, "message "+id+" in the hold queue", func() bool { return p.holds(id) })
	if where := p.queue(t)[id]; where != "hold" {
		t.Fatalf("postqueue shows message %s in queue %q", id, where)
	}
	out, err := exec.Command("postcat", "-c", p.etc, "-hb", "-q", id).Output()
	if err != nil {
		t.Fatalf("postcat: %v", err)
	}
	return parseDelivery(out)
}
