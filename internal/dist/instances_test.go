package dist

import (
	"fmt"
	"strings"
	"testing"
)

// secondInstance makes an instance of Postfix beside the first, with its own address and queue.
// Its smtpd is chrooted, as that of Debian's first instance is.
const secondInstance = `
postconf -e 'inet_interfaces = %[2]s, 127.0.0.1'
postmulti -e init
postmulti -I postfix-in -e create
postconf -c /etc/postfix-in -X master_service_disable
postconf -c /etc/postfix-in -e 'inet_interfaces = %[1]s' myhostname=in.reader.example mydestination=reader.example \
  'mynetworks = 127.0.0.0/8 10.8.0.0/16' maillog_file=/var/log/postfix-in.log
postmulti -i postfix-in -e enable
systemctl restart postfix
postmulti -i postfix-in -p start
`

// followInstances sets up two instances of Postfix, which ask the same daemon through two sockets,
// each in the chroot of its smtpd. Then it takes back one after the other.
func followInstances(t *testing.T, debian, files string) {
	m := machineFor(t, debian, prepareMX, []string{"ro", files, "/mnt/dist"})
	second := strings.TrimSuffix(m.host, ".2") + ".66"
	run(t, "ip", "route", "add", second, "via", m.host)
	run(t, "nsenter", "-t", fmt.Sprint(m.pid), "-n", "ip", "address", "add", second+"/32", "dev", "lo")
	m.do(t, fmt.Sprintf(secondInstance, second, m.host))
	m.do(t, "dpkg -i /mnt/dist/sekimori_*.deb")
	t.Log(m.do(t, "sekimori setup postfix --apply"))
	t.Log(m.do(t, "sekimori setup postfix --config-dir /etc/postfix-in --apply"))
	for _, line := range []string{"sekimori setup postfix", "sekimori setup postfix --config-dir /etc/postfix-in"} {
		if again := m.do(t, line); !strings.Contains(again, "Nothing has to change.") {
			t.Errorf("%s: %s", line, again)
		}
	}
	sockets := m.do(t, "stat -c '%n %G %a' /run/sekimori/milter.sock /var/spool/postfix/sekimori/milter.sock /var/spool/postfix-in/sekimori/milter.sock")
	if strings.Count(sockets, " postfix 660\n") != 3 {
		t.Errorf("the sockets: %s", sockets)
	}
	trusted := m.do(t, "sekimori config print")
	for _, want := range []string{"10.9.0.0/16", "10.8.0.0/16", "authserv_id: mx.reader.example"} {
		if !strings.Contains(trusted, want) {
			t.Errorf("no %s in the configuration:\n%s", want, trusted)
		}
	}
	labelled := func(host string, want bool) {
		t.Helper()
		label := send(t, m, host)
		if strings.Contains(label, "Authentication-Results: mx.reader.example;") != want || want && !strings.Contains(label, "dmarc=pass") {
			t.Errorf("through %s, a label is %v:\n%s", host, want, label)
		}
	}
	labelled(m.host, true)
	labelled(second, true)
	if found, _ := m.try("sekimori doctor --postfix-config-dir /etc/postfix-in"); strings.Contains(found, "\nmta ") || !strings.Contains(found, "Postfix 3.") {
		t.Errorf("doctor: %s", found)
	}
	// Both added networks to one line of the configuration, so the last one has to be taken back first.
	if said, err := m.try("sekimori setup postfix --undo"); err == nil || !strings.Contains(said, "undo that one first") {
		t.Errorf("undone although the other instance has changed the same line: %s", said)
	}
	labelled(m.host, true)
	t.Log(m.do(t, "sekimori setup postfix --config-dir /etc/postfix-in --undo"))
	labelled(m.host, true)
	labelled(second, false)
	m.do(t, "sekimori setup postfix --undo")
	labelled(m.host, false)
	labelled(second, false)
	if left := m.do(t, "find /etc/systemd/system/sekimori.socket.d /etc/sekimori/setup -mindepth 1 2>/dev/null || :"); left != "" {
		t.Errorf("after both undos: %s", left)
	}
}
