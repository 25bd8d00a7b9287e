package attack

import (
	"strings"
	"testing"

	"sekimori/internal/config"
)

// TestForgedRelay tries to choose the client of a message by Received fields. relay.here.example is
// a relay, whose topmost field names the client; bankMX is the client that bank.example permits.
func TestForgedRelay(t *testing.T) {
	const (
		relayIP = "203.0.113.25"
		top     = "Received: from mail.attacker.example (mail.attacker.example [192.0.2.66]) by relay.here.example (Postfix) with ESMTP id 1\r\n"
		bank    = "Received: from mx.bank.example (mx.bank.example [198.51.100.1]) by relay.here.example (Postfix) with ESMTP id 2\r\n"
		from    = "From: a@bank.example\r\n"
	)
	d := start(t, "", func(cfg *config.Config) {
		var n config.Network
		if err := n.UnmarshalText([]byte(relayIP)); err != nil {
			t.Fatal(err)
		}
		cfg.Trusted.Relays = []config.Relay{{Network: n, By: []config.Pattern{"relay.here.example"}}}
	})
	spoof := " dkim=none dmarc=fail from=bank.example"
	for why, tt := range map[string]struct{ ip, fields, want string }{
		"the bank's own mail by the relay": {relayIP, bank + from, "accept spf=pass dkim=none dmarc=pass from=bank.example"},
		"a stranger writes the relay's field": {attackerIP, bank + from,
			"reject spf=fail" + spoof},
		"a neighbour writes the relay's field": {"203.0.113.26", bank + from,
			"reject spf=fail" + spoof},
		"a stranger's field below the relay's": {relayIP, top + bank + from,
			"reject spf=fail" + spoof},
		"a stranger's field below other fields": {relayIP, top + from + "X: y\r\n" + bank, "reject spf=fail" + spoof},
		"fields of a stranger between": {relayIP, top + "Received: junk\r\n" + bank + "Received: (qmail 1 invoked from network)\r\n" + bank + from,
			"reject spf=fail" + spoof},
		"the bank's address in HELO": {relayIP, "Received: from [198.51.100.1] (unknown [192.0.2.66]) by relay.here.example (Postfix) with ESMTP id 1\r\n" + from,
			"reject spf=fail" + spoof},
		"the bank's address in HELO, Exim": {relayIP, "Received: from [192.0.2.66] (helo=[198.51.100.1]) by relay.here.example with esmtp (Exim 4.96) id 1\r\n" + from,
			"reject spf=fail" + spoof},
		"the bank's address in HELO, qmail": {relayIP, "Received: from unknown (HELO [198.51.100.1]) (192.0.2.66) by relay.here.example with SMTP\r\n" + from,
			"reject spf=fail" + spoof},
		"the bank's address in HELO, Exchange": {relayIP, "Received: from [198.51.100.1] (192.0.2.66) by relay.here.example with Microsoft SMTP Server id 15\r\n" + from,
			"reject spf=fail" + spoof},
		"a HELO that is a whole client": {relayIP, "Received: from x (mx.bank.example [198.51.100.1]) (unknown [192.0.2.66]) by relay.here.example with ESMTP id 1\r\n" + from,
			"quarantine spf=none" + spoof},
		"a HELO that names another host after by": {relayIP, "Received: from x by evil.example (unknown [192.0.2.66]) by relay.here.example with ESMTP id 1\r\n" + bank + from,
			"quarantine spf=none" + spoof},
		"the relay's field is missing, a foreign host": {relayIP, "Received: from x (x [198.51.100.1]) by evil.example with ESMTP id 1\r\n" + from,
			"quarantine spf=none" + spoof},
	} {
		a := attempt{ip: tt.ip, client: "unknown", helo: "mx.bank.example", mailFrom: "<a@bank.example>", fields: tt.fields}
		o := d.send(t, a)
		got, _, _ := strings.Cut(o.String(), " reason=")
		if got != tt.want {
			t.Errorf("%s: %s, want %s", why, got, tt.want)
		}
		if o.property("iprev", "policy.iprev") == relayIP {
			t.Errorf("%s: the label says that the relay is the client", why)
		}
	}
}
