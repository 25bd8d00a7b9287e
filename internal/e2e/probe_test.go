package e2e

import (
	"strings"
	"testing"

	"sekimori/internal/filter"
)

// TestNoClientIsAProbe: an SMTP client that writes the mark of sekimori probe wherever it can write
// something is not taken for a probe: its mail is counted as mail, and the log does not mark it.
func TestNoClientIsAProbe(t *testing.T) { behindEach(t, plain, settings{}, testNoClientIsAProbe) }

func testNoClientIsAProbe(t *testing.T, m *mx) {
	to := recipient()
	from := `"` + filter.ProbeMacro + `=1"@plain.example`
	client := spoofer
	client.helo = "sekimori_probe.example"
	message := mail{from: "info@bank.example", subject: filter.ProbeMacro, extra: []string{
		"sekimori_probe: 1", "X-Macro: " + filter.ProbeMacro + "=1", filter.ProbeMacro + ": 1",
	}}.bytes()
	r := m.post(t, client, from, to, message)
	m.expect(t, r, to, refused, `^550 5\.7\.1 Email rejected per DMARC policy for bank\.example`, "the mark changes nothing")
	record := m.evaluated(t, "mail_from", "<"+from+">")
	if _, marked := record["probe"]; marked {
		t.Errorf("%s: the record is marked as a probe's: %v", m.name, record)
	}
	if n := m.metric(t, `sekimori_messages_total{verdict="reject"}`); n != 1 {
		t.Errorf("%s: %v rejected messages are counted", m.name, n)
	}
	if n := m.metric(t, `sekimori_probe_messages_total{verdict="reject"}`); n != 0 {
		t.Errorf("%s: %v messages of a probe are counted", m.name, n)
	}
}

// TestProbe runs sekimori probe against the daemon behind Postfix: over the milter socket, where
// nothing counts as mail, and through Postfix with XCLIENT, where the label arrives in a mailbox.
func TestProbe(t *testing.T) {
	shared(t)
	t.Parallel()
	m := newMX(t, plain, settings{})
	ask := func(want string, args ...string) {
		t.Helper()
		code, out, errs := sekimori(t, append([]string{"probe", "--config", m.config}, args...)...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("probe %v: exit code %d, no %q in\n%s%s", args, code, want, out, errs)
		}
	}
	ask("came back  rejected: 550 5.7.1 ", "--quick")
	ask("came back  rejected: 550 5.7.1 Email rejected per DMARC policy for bank.example", "--domain", "bank.example")
	if n := m.metric(t, `sekimori_messages_total{verdict="reject"}`); n != 0 {
		t.Errorf("%v messages of probes count as mail", n)
	}
	ask("came back  rejected: 550 5.7.1 Email rejected per DMARC policy for bank.example", "--smtp", m.smtp, "--rcpt", recipient(), "--domain", "bank.example")
	to := recipient()
	ask("came back  accepted: 250 2.0.0 Ok: queued as ", "--smtp", m.smtp, "--rcpt", to)
	label := run.inbox.wait(t, to).all("Authentication-Results")
	if len(label) != 2 || !strings.HasPrefix(strings.TrimSpace(label[0]), authServID+"; spf=none") || !strings.Contains(label[1], "other.probe.invalid") {
		t.Errorf("the message has the fields %q", label)
	}
	if n := m.metric(t, `sekimori_messages_total{verdict="reject"}`); n != 1 {
		t.Errorf("%v rejected messages count as mail", n)
	}
	m.kill()
	if code, out, errs := sekimori(t, "probe", "--config", m.config, "--quick", "--json"); code != 2 || !strings.Contains(out, `"error": "the daemon cannot be reached: `) ||
		!strings.Contains(errs, "does the daemon run?") || strings.Contains(errs, "--help") {
		t.Errorf("without a daemon: exit code %d\n%s%s", code, out, errs)
	}
}
