package dist

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// prepareSendmail turns the Debian into a mail host without sekimori, as prepareMX does. Debian's
// Sendmail listens on the loopback address alone; README says how to change that.
const prepareSendmail = `
echo mx.reader.example >/etc/hostname
echo '127.0.0.1 localhost
%[1]s mx.reader.example mx' >/etc/hosts
echo 'nameserver %[2]s' >/etc/resolv.conf
useradd --create-home reader
echo reader.example >>/etc/mail/local-host-names
# A host that runs tests may be busy.
` + "sed -i \"/^MAILER_DEFINITIONS/i define(\\`confREFUSE_LA', \\`1000')dnl\" /etc/mail/sendmail.mc\n"

// TestRoadSendmail follows README from a Debian with Sendmail to the first label, takes the change
// back, and removes the package.
func TestRoadSendmail(t *testing.T) {
	need(t, "debootstrap", "unshare", "nsenter", "ip", "make")
	needMachine(t)
	install, _, _ := strings.Cut(readmeLines(t, "Postfix in five minutes")[0], "\n")
	blocks := readmeLines(t, "Sendmail in five minutes")
	if len(blocks) != 3 || !strings.HasPrefix(install, "dpkg -i ") || !strings.HasPrefix(blocks[2], "sed ") ||
		!strings.Contains(blocks[1], "sekimori probe --smtp mx.example.jp --rcpt ann@example.jp") {
		t.Fatalf("README shows other ways than the filter's line, a probe and a line to listen: %q %q", install, blocks)
	}
	const rebuild = "make -C /etc/mail\nsystemctl restart sendmail"
	if !strings.HasSuffix(blocks[0], rebuild) {
		t.Fatalf("README builds and restarts in another way: %q", blocks[0])
	}
	probe := strings.NewReplacer("mx.example.jp", "mx.reader.example", "ann@example.jp", "reader@reader.example").Replace(blocks[1])
	debian := base{"SEKIMORI_DEBIAN_SENDMAIL", "systemd,systemd-sysv,sendmail,make,m4"}.bookworm(t)
	m := machineFor(t, debian, prepareSendmail, []string{"ro", build(t, "1.0"), "/mnt/dist"})
	before := m.do(t, "cat /etc/mail/sendmail.mc")
	begin := time.Now()
	script := install + "\n" + blocks[0]
	for line := range strings.Lines(script) {
		out := m.do(t, "cd /mnt/dist\n"+line)
		t.Logf("%5.1f s  %s", time.Since(begin).Seconds(), strings.TrimSpace(line))
		if strings.Contains(line, "setup") {
			t.Log(out)
		}
	}
	if out, err := m.try(probe); err == nil || !strings.Contains(out, "no program listens there") {
		t.Errorf("Sendmail listens on the loopback address alone, and the probe says: %v\n%s", err, out)
	}
	script += "\n" + blocks[2] + "\n" + rebuild
	m.do(t, blocks[2]+"\n"+rebuild)
	t.Log(m.do(t, probe))
	label := send(t, m, m.host)
	t.Logf("%5.1f s, %d lines of README: the first label\n%s", time.Since(begin).Seconds(), strings.Count(script, "\n")+1, label)
	for _, want := range []string{"Authentication-Results: mx.reader.example;", "spf=pass", "dmarc=pass"} {
		if !strings.Contains(label, want) {
			t.Errorf("the label lacks %q:\n%s", want, label)
		}
	}
	if again := m.do(t, "sekimori setup sendmail"); !strings.Contains(again, "Nothing has to change.") {
		t.Errorf("set up, it wants to change more:\n%s", again)
	}
	if found, _ := m.try("sekimori doctor"); strings.Contains(found, "\nmta ") || !strings.Contains(found, "looked at      Sendmail's /etc/mail/sendmail.cf") {
		t.Errorf("doctor: %s", found)
	}
	if kept := m.do(t, "cat /etc/sekimori/setup/sendmail-1/1-sendmail.mc"); kept != before {
		t.Errorf("the copy is\n%s\nand the file was\n%s", kept, before)
	}
	// While Sendmail asks the daemon, a removal of the package says what to do.
	warned := m.do(t, "dpkg -r --simulate sekimori; sh /var/lib/dpkg/info/sekimori.prerm remove 2>&1; systemctl enable --now sekimori.socket sekimori.service")
	if !strings.Contains(warned, "The MTA still asks sekimori") || !strings.Contains(warned, "sekimori setup sendmail --undo") {
		t.Errorf("the removal says %s", warned)
	}
	undo := m.do(t, "sekimori setup sendmail --undo")
	t.Log(undo)
	listening := strings.ReplaceAll(before, "Port=smtp, Addr=127.0.0.1", "Port=smtp")
	if after := m.do(t, "cat /etc/mail/sendmail.mc"); after != listening || listening == before {
		t.Errorf("undone, sendmail.mc is\n%s\nand was\n%s", after, before)
	}
	for _, run := range regexp.MustCompile(`(?m)^run now: (.*)$`).FindAllStringSubmatch(undo, -1) {
		m.do(t, run[1])
	}
	if label := send(t, m, m.host); strings.Contains(label, "Authentication-Results") {
		t.Errorf("undone, the message has a label:\n%s", label)
	}
	if removed := m.do(t, "dpkg -r sekimori 2>&1"); strings.Contains(removed, "still asks") {
		t.Errorf("undone, the removal says %s", removed)
	}
	if label := send(t, m, m.host); !strings.Contains(label, "Hello.") {
		t.Errorf("without sekimori, the message is\n%s", label)
	}
}
