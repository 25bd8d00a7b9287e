package e2e

import (
	"bytes"
	"strings"
	"testing"
)

// TestFieldPostfixProxyFilter: the milters of an smtpd with smtpd_proxy_filter do not see the
// message, so the daemon warns that it evaluates nothing. It also warns if the smtpd behind the
// proxy has the milter, because every client then has the address 127.0.0.1.
func TestFieldPostfixProxyFilter(t *testing.T) {
	s := shared(t)
	t.Parallel()
	for range cap(s.postfix.slots[before]) {
		m := newMX(t, before, nil)
		for range 5 {
			to := recipient()
			m.post(t, peer{"x.y.example", "192.0.2.99", "x.y.example"}, "u@a.example", to, mail{from: "u@a.example"}.bytes()).accepted(t)
			run.inbox.wait(t, to)
		}
		r := m.record(t, "the set-up around the daemon has a problem", "kind", "nothing_evaluated")
		if r["level"] != "WARN" || r["transactions"] != 5.0 {
			t.Errorf("%s: %v", m.name, r)
		}
		if n := m.metric(t, "sekimori_transactions_without_message_total"); n != 5 {
			t.Errorf("%s: %v transactions are counted", m.name, n)
		}
		if n := m.metric(t, `sekimori_topology_problem{kind="nothing_evaluated"}`); n != 1 {
			t.Errorf("%s: sekimori_topology_problem is %v", m.name, n)
		}
		// The tests' authserv_id is not the name of this Postfix, which the daemon learns with the first message.
		if code, out, errs := sekimori(t, "status", "--admin", "http://"+m.admin); code != 0 || !strings.Contains(out, "nothing_evaluated\n") {
			t.Errorf("%s: status says\n%s%s", m.name, out, errs)
		}
		code, out, errs := sekimori(t, "doctor", "--admin", "http://"+m.admin, "--config", m.config, "--postfix-config-dir", s.postfix.etc)
		if code != 1 || !strings.Contains(out, "daemon nothing_evaluated: ") || !strings.Contains(out, "mta foreign_name: ") {
			t.Errorf("%s: doctor ends with %d and says\n%s%s", m.name, code, out, errs)
		}
	}
}

// TestMonitorDeletesWhatIsForged: in monitor mode, a message with more header fields than the limit
// is delivered with our label. Postfix deletes every Authentication-Results field that uses our
// name and keeps all others.
func TestMonitorDeletesWhatIsForged(t *testing.T) {
	shared(t)
	t.Parallel()
	m := newMX(t, plain, settings{"mode": "monitor"})
	const forged, foreign = "Authentication-Results: " + authServID + "; dmarc=pass\r\n", "Authentication-Results: mx.other.example; dmarc=pass\r\n"
	to := recipient()
	fields := bytes.Repeat([]byte(forged+foreign+"X-Filler: y\r\n"), 700)
	m.post(t, bankMX, unique("@bank.example"), to, append(fields, mail{from: "info@bank.example"}.bytes()...)).accepted(t)
	d := run.inbox.wait(t, to)
	results := d.all("Authentication-Results")
	if len(results) != 701 || strings.TrimSpace(results[0]) != authServID+"; none (not evaluated: too large)" {
		t.Fatalf("%d fields, on top %q", len(results), results[0])
	}
	for _, r := range results[1:] {
		if strings.TrimSpace(r) != "mx.other.example; dmarc=pass" {
			t.Fatalf("left: %q", r)
		}
	}
}

// TestNameOfTheMTA: without authserv_id in the configuration, the daemon uses Postfix's own name
// (myhostname) in its results, and deletes forged results that use this name or a name in
// authserv_id_also.
func TestNameOfTheMTA(t *testing.T) {
	shared(t)
	t.Parallel()
	m := newMX(t, plain, settings{"authserv_id": `""`, "authserv_id_also": "[old.test]"})
	to := recipient()
	forged := "Authentication-Results: MX.test; dmarc=pass\r\nAuthentication-Results: mx; dmarc=pass\r\nAuthentication-Results: old.test; dmarc=pass\r\n" +
		"Received-SPF: pass (mx.test: ok) receiver=mx.test\r\nBIMI-Indicator: x\r\n"
	m.post(t, bankMX, unique("@bank.example"), to, append([]byte(forged), mail{from: "info@bank.example"}.bytes()...)).accepted(t)
	d := run.inbox.wait(t, to)
	if r := d.all("Authentication-Results"); len(r) != 1 || !strings.HasPrefix(strings.TrimSpace(r[0]), "mx.test;") {
		t.Errorf("%q", r)
	}
	if r := append(d.all("Received-SPF"), d.all("BIMI-Indicator")...); len(r) != 0 {
		t.Errorf("left: %q", r)
	}
}
