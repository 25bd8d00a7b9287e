package e2e

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	bench "sekimori/internal/bench/postfix"
)

// sendmail is a private instance of Debian's Sendmail. Its packages are unpacked into a separate
// directory, because they conflict with those of Postfix. Sendmail does not have XCLIENT. It
// therefore runs in a network namespace whose loopback interface has the addresses of the clients,
// and the tests connect from these addresses. The daemon runs outside of the namespace and is
// reached by a unix socket, as deploy/sendmail recommends.
type sendmail struct {
	dir    string
	cf     string
	inside chan func() // receives functions to be run in the namespace
	slots
	leash io.WriteCloser // the instance stops when this is closed or when the test's process ends
	cmd   *exec.Cmd
	auth  net.Listener
}

const (
	// sendmailRoot is the directory into which .ci/run unpacks the packages. The environment
	// variable in sendmailRootVar can name another directory.
	sendmailRoot    = "/opt/sekimori-test/sendmail"
	sendmailRootVar = "SEKIMORI_TEST_SENDMAIL"
	sendmailMacros  = "/usr/share/sendmail/cf/"
	// unfailing is the kind of listener whose filter line has no F=. If the filter does not answer,
	// Sendmail then accepts the mail without the filter.
	unfailing kind = "unfailing"
	// tcp is the kind of listener that reaches its filter by TCP within the namespace.
	tcp kind = "tcp"
)

//go:embed testdata/sendmail.mc testdata/deliver
var sendmailFiles embed.FS

func sendmailProgram() string {
	root := os.Getenv(sendmailRootVar)
	if root == "" {
		root = sendmailRoot
	}
	return filepath.Join(root, "usr/libexec/sendmail/sendmail")
}

// sendmailMissing returns a sentence about the first thing that is missing to run Sendmail, or "".
func sendmailMissing() string {
	for _, program := range []string{"m4", "ip", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	if _, err := os.Stat(sendmailMacros + "m4/cf.m4"); err != nil {
		return "sendmail-cf is not installed"
	}
	if _, err := os.Stat(sendmailProgram()); err != nil {
		return "there is no " + sendmailProgram() + " (see .ci/run; " + sendmailRootVar + " names another directory)"
	}
	return ""
}

var (
	prepareSendmail sync.Once
	sendmailFailure error
)

// sharedSendmail returns the Sendmail instance, and starts it on the first call.
func sharedSendmail(t *testing.T) *sendmail {
	t.Helper()
	s := shared(t)
	if missing := sendmailMissing(); missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the tests through Sendmail must run in CI, but %s", missing)
		}
		t.Skipf("tests through Sendmail skipped: %s", missing)
	}
	prepareSendmail.Do(func() {
		var m *sendmail
		if m, sendmailFailure = startSendmail(s.host, filepath.Join(s.dir, "mail")); sendmailFailure == nil {
			s.sendmail = m
		}
	})
	if sendmailFailure != nil {
		t.Fatal(sendmailFailure)
	}
	return s.sendmail
}

// startSendmail starts the instance. Its files are in /run, because Sendmail refuses a milter
// socket below a directory such as /tmp that others can write to.
func startSendmail(host, mail string) (*sendmail, error) {
	dir, err := os.MkdirTemp("/run", "seki")
	if err != nil {
		return nil, err
	}
	m := &sendmail{dir: dir, cf: filepath.Join(dir, "sendmail.cf"), slots: slots{}}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	for _, d := range []string{"queue", "run", "sasl"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if m.auth, err = serveSASL(filepath.Join(dir, "mux")); err != nil {
		return nil, err
	}
	if err := makeCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")); err != nil {
		return nil, err
	}
	if m.inside, err = namespace(); err != nil {
		return nil, err
	}
	filter, err := deployedFilter()
	if err != nil {
		return nil, err
	}
	var listeners strings.Builder
	for _, group := range []struct {
		kind  kind
		count int
	}{{plain, 8}, {login, 2}, {tcp, 1}, {unfailing, 1}} {
		m.slots[group.kind] = make(chan slot, group.count)
		for range group.count {
			s := m.newSlot(group.kind, host)
			line := strings.NewReplacer("INPUT_MAIL_FILTER", "MAIL_FILTER", "`sekimori'", "`"+s.name+"'", deployedSocket, s.milter).Replace(filter)
			if s.kind == unfailing {
				line = strings.Replace(line, " F=T,", "", 1)
			}
			listeners.WriteString(line + fmt.Sprintf(sendmailListener, s.name, port(s.smtp)))
			m.slots[group.kind] <- s
		}
	}
	if err := m.configure(listeners.String(), mail); err != nil {
		return nil, err
	}
	return m, m.start()
}

// sendmailListener is the configuration of an IPv4 listener and an IPv6 listener with the same
// filter.
const sendmailListener = "DAEMON_OPTIONS(`Name=%[1]s, Family=inet, Addr=127.0.0.1, Port=%[2]s, InputMailFilters=%[1]s')dnl\n" +
	"DAEMON_OPTIONS(`Name=%[1]s-6, Family=inet6, Addr=::1, Port=%[2]s, InputMailFilters=%[1]s')dnl\n"

const deployedSocket = "unix:/run/sekimori/milter.sock"

// deployedFilter returns the INPUT_MAIL_FILTER line of deploy/sendmail/sekimori.mc. The file's
// lines about macros are not used: the tests must show that the daemon gets these macros by asking
// for them.
func deployedFilter() (string, error) {
	root, err := repoRoot()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(root, "deploy", "sendmail", "sekimori.mc"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "INPUT_MAIL_FILTER(`sekimori', `S="+deployedSocket+", F=T, T=") {
			return line, nil
		}
	}
	return "", errors.New("deploy/sendmail/sekimori.mc has no such INPUT_MAIL_FILTER line")
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func (m *sendmail) newSlot(k kind, host string) slot {
	port := 2900
	for _, of := range m.slots {
		port += len(of)
	}
	name := fmt.Sprintf("sendmail%d", port)
	s := slot{
		kind: k, name: name, mta: m,
		smtp:   fmt.Sprintf("127.0.0.1:%d", port),
		milter: "unix:" + filepath.Join(m.dir, "run", name+".sock"),
		admin:  fmt.Sprintf("%s:%d", host, 20000+port),
	}
	if k == tcp {
		s.milter = fmt.Sprintf("inet:%d@127.0.0.1", 10000+port)
	}
	return s
}

// configure makes sendmail.cf from testdata/sendmail.mc, the lines of the listeners and Sendmail's
// m4 macros.
func (m *sendmail) configure(listeners, mail string) error {
	inbox := filepath.Join(mail, "inbox")
	for _, d := range []string{"new", "tmp", "cur"} { // Postfix makes these directories only with its first delivery
		path := filepath.Join(inbox, d)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		for _, p := range []string{inbox, path} {
			if err := os.Chown(p, 65534, 65534); err != nil {
				return err
			}
		}
	}
	for name, mode := range map[string]os.FileMode{"sendmail.mc": 0o644, "deliver": 0o755} {
		text, err := sendmailFiles.ReadFile("testdata/" + name)
		if err != nil {
			return err
		}
		replaced := strings.NewReplacer("@DIR@", m.dir, "@INBOX@", inbox, "@LISTENERS@\n", listeners).Replace(string(text))
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(replaced), mode); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"switch":             "hosts files\naliases files\n",
		"sasl/Sendmail.conf": "pwcheck_method: saslauthd\nsaslauthd_path: " + m.auth.Addr().String() + "\n",
	} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	cmd := exec.Command("m4", "-D_CF_DIR_="+sendmailMacros, filepath.Join(m.dir, "sendmail.mc"))
	cmd.Stderr = os.Stderr
	cf, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("m4: %w", err)
	}
	return os.WriteFile(m.cf, cf, 0o644)
}

// withSASL runs a command with another directory in place of Cyrus SASL's configuration directory
// /usr/lib/sasl2. It must run in a mount namespace of its own, so that no other process is
// affected.
const withSASL = `mount --bind "$0" /usr/lib/sasl2 && exec "$@"`

func (m *sendmail) start() error {
	log, err := os.Create(filepath.Join(m.dir, "errors"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	m.cmd = exec.Command("sh", "-c", bench.LeashScript, "leash", "unshare", "--mount", "sh", "-c", withSASL, filepath.Join(m.dir, "sasl"),
		sendmailProgram(), "-C"+m.cf, "-bD", "-q5s", "-D", filepath.Join(m.dir, "log"), "-d64.5")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if m.leash, err = m.cmd.StdinPipe(); err != nil {
		return err
	}
	if m.within(func() { err = m.cmd.Start() }); err != nil {
		return err
	}
	first := <-m.slots[plain]
	m.slots[plain] <- first
	up := within(patience, func() bool {
		conn, err := m.connect("", first.smtp)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	if !up {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("sendmail did not start: %s\n%w", said, m.stop())
	}
	return nil
}

func (m *sendmail) stop() error {
	_ = m.leash.Close()
	_ = m.cmd.Wait()
	_ = m.auth.Close()
	close(m.inside)
	return os.RemoveAll(m.dir)
}

func (m *sendmail) dial(s slot, p peer) (*session, error) {
	to := s.smtp
	if strings.Contains(p.addr, ":") {
		to = net.JoinHostPort("::1", port(to))
	}
	conn, err := m.connect(p.addr, to)
	if err != nil {
		return nil, err
	}
	return greet(conn, "EHLO "+p.helo)
}

// clientName returns the client's address in brackets. Sendmail knows no names, because no name
// server answers in the namespace.
func (*sendmail) clientName(p peer) string { return "[" + p.addr + "]" }

// said returns the end of Sendmail's milter trace for all slots. Sendmail's log goes to syslog,
// which the tests do not read.
func (m *sendmail) said(slot) string {
	data, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		return err.Error()
	}
	const enough = 6 << 10
	return string(data[max(0, len(data)-enough):])
}

// holds reports whether message id is quarantined. Its queue file is then called hf… instead of
// qf….
func (m *sendmail) holds(id string) bool {
	_, err := os.Stat(filepath.Join(m.dir, "queue", "hf"+id))
	return err == nil
}

// held waits until message id is quarantined, checks that mailq -qQ shows it, and reads it from the
// queue.
func (m *sendmail) held(t *testing.T, id string) delivery {
	t.Helper()
	eventually(t, "message "+id+" in quarantine", func() bool { return m.holds(id) })
	out, err := m.tool("-bp", "-qQ")
	if err != nil || !bytes.Contains(out, []byte(id)) || !bytes.Contains(out, []byte("QUARANTINE:")) {
		t.Fatalf("mailq -qQ does not show message %s: %v\n%s", id, err, out)
	}
	control, err := os.ReadFile(filepath.Join(m.dir, "queue", "hf"+id))
	body, bodyErr := os.ReadFile(filepath.Join(m.dir, "queue", "df"+id))
	if err := errors.Join(err, bodyErr); err != nil {
		t.Fatal(err)
	}
	return parseDelivery(append(append(queueHeader(control), '\n'), body...))
}

// tool runs the sendmail program within the namespace, as the postmaster would.
func (m *sendmail) tool(args ...string) (out []byte, err error) {
	m.within(func() { out, err = exec.Command(sendmailProgram(), append(args, "-C"+m.cf)...).CombinedOutput() })
	return out, err
}

// queueHeader extracts the message's header fields from a queue file. There a field is a line
// "H?flags?name: value", followed by its continuation lines.
func queueHeader(control []byte) []byte {
	var header []byte
	within := false
	for line := range bytes.Lines(control) {
		switch {
		case line[0] == 'H':
			if within = true; bytes.HasPrefix(line, []byte("H?")) {
				_, field, _ := bytes.Cut(line[2:], []byte("?"))
				line = append([]byte("H"), field...)
			}
			header = append(header, line[1:]...)
		case within && (line[0] == ' ' || line[0] == '\t'):
			header = append(header, line...)
		default:
			within = false
		}
	}
	return header
}
