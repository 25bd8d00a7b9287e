package e2e

import (
	"testing"

	"sekimori/internal/filter"
)

// TestNoClientIsAProbe: an SMTP client that writes the mark of sekimori probe wherever it can write
// something is not taken for a probe: its mail is counted as mail, and the log does not mark it.
func TestNoClientIsAProbe(t *testing.T) { behindEach(t, plain, nil, testNoClientIsAProbe) }

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
