package dist

import (
	"fmt"
	"net"
	"net/smtp"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sekimori/internal/testkit/nameserver"
)

// prepareMX turns the Debian into a mail host without sekimori: the host has a name, receives mail
// for reader.example, and asks the name server of the test.
const prepareMX = `
echo mx >/etc/hostname
echo '127.0.0.1 localhost
%[1]s mx.reader.example mx' >/etc/hosts
echo 'nameserver %[2]s' >/etc/resolv.conf
useradd --create-home reader
postconf -e myhostname=mx.reader.example mydestination=reader.example,localhost 'mynetworks=127.0.0.0/8 [::1]/128 10.9.0.0/16'
# A container has no syslog.
postconf -e maillog_file=/var/log/postfix.log
`

// readmeLines returns the indented blocks of a section of README, each as a shell script.
func readmeLines(t *testing.T, section string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(readFile(t, top(t), "README.md"), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("README has no section %q", section)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	var out []string
	for _, block := range regexp.MustCompile(`(?m)(?:^    .*\n)+`).FindAllString(text, -1) {
		out = append(out, strings.TrimSpace(regexp.MustCompile(`(?m)^    `).ReplaceAllString(block, "")))
	}
	return out
}

// TestRoad follows README from a Debian with Postfix to the first label: with the deb, with the rpm,
// and from source. It runs the lines of README as they are written, and nothing else.
func TestRoad(t *testing.T) {
	need(t, "debootstrap", "unshare", "nsenter", "ip", "make")
	needMachine(t)
	blocks := readmeLines(t, "Postfix in five minutes")
	if len(blocks) != 3 || !strings.HasPrefix(blocks[0], "dpkg -i ") || !strings.HasPrefix(blocks[1], "make build ") ||
		!strings.Contains(blocks[2], "sekimori probe --smtp 127.0.0.1 --rcpt ann@example.jp") {
		t.Fatalf("README shows other ways than with the package and from source, and a probe: %q", blocks)
	}
	probe := strings.ReplaceAll(blocks[2], "ann@example.jp", "reader@reader.example")
	debian, files := base{"SEKIMORI_DEBIAN", "systemd,systemd-sysv,postfix,make,rpm"}.bookworm(t), build(t, "1.0")
	for _, tt := range []struct {
		name, script, dir string
		binds             []string
	}{
		{"deb", blocks[0], "/mnt/dist", []string{"ro", files, "/mnt/dist"}},
		// The rpm asks for shadow-utils, which Debian calls passwd, so Debian's rpm has to be told
		// not to look.
		{"rpm", strings.Replace(blocks[0], "dpkg -i sekimori_*.deb", "rpm -i --nodeps sekimori-*.rpm", 1), "/mnt/dist",
			[]string{"ro", files, "/mnt/dist"}},
		{"source", blocks[1], "/root/source", append(goBinds(t), "ro", top(t), "/mnt/source")},
	} {
		t.Run(tt.name, func(t *testing.T) { follow(t, debian, tt.dir, tt.script, probe, tt.binds) })
	}
	t.Run("instances", func(t *testing.T) { followInstances(t, debian, files) })
}

// machineFor starts a machine whose MTA receives mail for reader.example, and a name server for it
// that publishes a policy for author.example. prepare is a script with two verbs: the machine's
// address and the name server's.
func machineFor(t *testing.T, debian, prepare string, binds []string) *machine {
	t.Helper()
	n := os.Getpid()%250 + 1
	m := startMachine(t, debian, fmt.Sprintf(prepare, fmt.Sprintf("198.18.%d.2", n), fmt.Sprintf("198.18.%d.1", n)), binds...)
	nameserver.Serve(t, fmt.Sprintf("author.example A %[1]s\nauthor.example TXT \"v=spf1 ip4:%[1]s -all\"\n_dmarc.author.example TXT \"v=DMARC1; p=reject\"\n", m.client),
		nameserver.Options{Addr: m.client + ":53"})
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := m.try("journalctl --no-pager -n 40; tail -n 30 /var/log/postfix.log || :")
			t.Log(out)
		}
	})
	return m
}

// follow runs the lines of script in a new machine, sends a message, and runs the lines of probe.
func follow(t *testing.T, debian, dir, script, probe string, binds []string) {
	m := machineFor(t, debian, prepareMX, binds)
	if dir == "/root/source" {
		m.do(t, "cp -r /mnt/source /root/source; rm -rf /root/source/bin")
	}
	before := m.do(t, "cat /etc/postfix/main.cf")
	begin := time.Now()
	for line := range strings.Lines(script) {
		out := m.do(t, "cd "+dir+"\n"+line)
		t.Logf("%5.1f s  %s", time.Since(begin).Seconds(), strings.TrimSpace(line))
		if strings.Contains(line, "setup") {
			t.Log(out)
		}
	}
	label := send(t, m, m.host)
	t.Logf("%5.1f s, %d lines of README: the first label\n%s", time.Since(begin).Seconds(), strings.Count(script, "\n")+1, label)
	for _, want := range []string{"Authentication-Results: mx.reader.example;", "spf=pass", "dmarc=pass"} {
		if !strings.Contains(label, want) {
			t.Errorf("the label lacks %q:\n%s", want, label)
		}
	}
	set := m.do(t, "cat /etc/postfix/main.cf; rm /var/mail/reader")
	t.Log(m.do(t, probe))
	wait(t, "the message of the probe is delivered", func() bool {
		label, _ = m.try("cat /var/mail/reader")
		return strings.Contains(label, "\n\n")
	})
	if !strings.Contains(label, "Authentication-Results: mx.reader.example;") {
		t.Errorf("the message of the probe has no label:\n%s", label)
	}
	if after := m.do(t, "cat /etc/postfix/main.cf"); after != set {
		t.Errorf("after the probe, main.cf is\n%s\nand was\n%s", after, set)
	}
	if again := m.do(t, "sekimori setup postfix"); !strings.Contains(again, "Nothing has to change.") {
		t.Errorf("set up, it wants to change more:\n%s", again)
	}
	if trusted := m.do(t, "sekimori config print"); !strings.Contains(trusted, "10.9.0.0/16") {
		t.Errorf("mynetworks is not trusted:\n%s", trusted)
	}
	m.do(t, "sekimori setup postfix --undo")
	if after := m.do(t, "cat /etc/postfix/main.cf"); after != before {
		t.Errorf("undone, main.cf is\n%s\nand was\n%s", after, before)
	}
	if label := send(t, m, m.host); strings.Contains(label, "Authentication-Results") {
		t.Errorf("undone, the message has a label:\n%s", label)
	}
}

// send sends a message to an address of the machine and returns it as it was delivered.
func send(t *testing.T, m *machine, host string) string {
	t.Helper()
	m.do(t, "rm -f /var/mail/reader")
	var nc net.Conn
	wait(t, "Postfix listens", func() bool {
		var err error
		nc, err = net.DialTimeout("tcp", host+":25", time.Second)
		return err == nil
	})
	c, err := smtp.NewClient(nc, host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range []func() error{
		func() error { return c.Hello("mail.author.example") },
		func() error { return c.Mail("a@author.example") },
		func() error { return c.Rcpt("reader@reader.example") },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err = fmt.Fprint(w, "From: A <a@author.example>\r\nSubject: hello\r\n\r\nHello.\r\n"); err != nil {
				return err
			}
			return w.Close()
		},
		c.Quit,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "the message is delivered", func() bool {
		_, err := m.try("grep -q Hello /var/mail/reader")
		return err == nil
	})
	return m.do(t, "cat /var/mail/reader")
}
