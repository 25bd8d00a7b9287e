package e2e

import (
	"fmt"
	"testing"
)

// TestRelay sends mail through a real Postfix in front of the MTA. For the daemon, this Postfix is a
// relay. SPF and iprev must be those of the client of the relay. A forged field in the name of the
// relay must not be believed.
func TestRelay(t *testing.T) {
	t.Parallel()
	s := shared(t)
	m := newMX(t, front, settings{
		"mode":    "monitor", // a refusal would become a bounce of the relay
		"trusted": fmt.Sprintf("{networks: [], relays: [{network: %s, by: [%s]}]}", s.host, frontName),
	})
	forged := "Received: from mail.bank.example (mail.bank.example [192.0.2.10]) by " + frontName + " (Postfix) with ESMTP id X"
	for _, c := range []struct {
		name   string
		client peer
		from   string
		label  []string
	}{
		{"the bank", bankMX, "@bank.example", []string{"spf=pass", "dmarc=pass", "iprev=pass"}},
		{"IPv6", sixMX, "@six.example", []string{"spf=pass", "dmarc=pass", "iprev=pass"}},
		{"a spoofer", spoofer, "@bank.example", []string{"spf=fail", "dmarc=fail", "iprev=pass"}},
		{"a private client", inside, "@bank.example", []string{"spf=none", "dmarc=fail", "iprev=permerror"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := unique(c.from), recipient()
			m.post(t, c.client, from, to, mail{from: "someone" + c.from, extra: []string{forged}}.bytes()).accepted(t)
			run.inbox.wait(t, to).label(t).want(t, c.label...)
			line, client := "read", c.client.addr
			if c.client == inside {
				line, client = "private", "unknown"
			}
			m.evaluated(t, "mail_from", "<"+from+">").want(t, "relay_ip", s.host, "relay_line", line, "client_ip", client)
		})
	}
	if got := m.metric(t, `sekimori_relay_clients_total{result="read"}`); got != 3 {
		t.Errorf("%v clients were read", got)
	}
}

// TestTopmostReceived checks which Received field the MTA shows first: the topmost of the message,
// not its own, and not one that a stranger put below.
func TestTopmostReceived(t *testing.T) {
	received := func(client, by string) string {
		return "Received: from mail.bank.example (unknown [" + client + "])\r\n\tby " + by + " (Postfix) with ESMTP id X; Sun, 22 Nov 2026 08:00:00 +0000"
	}
	relays := settings{"trusted": "{networks: [], relays: [{network: 192.0.2.1, by: [backup.test]}]}"}
	behindEach(t, plain, relays, func(t *testing.T, m *mx) {
		for _, c := range []struct {
			name   string
			client peer
			fields []string
			fate   fate
			log    []string
		}{
			{"the bank by the relay", newsMX, []string{received("192.0.2.10", "backup.test"), received("192.0.2.66", "x.example")}, delivered,
				[]string{"client_ip", "192.0.2.10", "relay_ip", "192.0.2.1", "relay_line", "read", "spf", "pass", "dmarc", "pass"}},
			{"a spoofer by the relay", newsMX, []string{received("192.0.2.66", "backup.test"), received("192.0.2.10", "backup.test")}, refused,
				[]string{"client_ip", "192.0.2.66", "relay_line", "read", "spf", "fail", "dmarc", "fail"}},
			{"no field of the relay", newsMX, []string{received("192.0.2.10", "x.example")}, held,
				[]string{"client_ip", "unknown", "relay_line", "unreadable", "spf", "none", "indirect", "client_unknown"}},
			{"a spoofer plays the relay", spoofer, []string{received("192.0.2.10", "backup.test")}, refused,
				[]string{"client_ip", "192.0.2.66", "spf", "fail", "dmarc", "fail"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				from, to := unique("@bank.example"), recipient()
				r := m.post(t, c.client, from, to, mail{from: "someone@bank.example", extra: c.fields}.bytes())
				m.expect(t, r, to, c.fate, `^550 5\.7\.1 `, c.name)
				m.evaluated(t, "mail_from", "<"+from+">").want(t, c.log...)
			})
		}
	})
}
