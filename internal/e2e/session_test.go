package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOneSession: the client's address and HELO name hold for every message of a session. The
// sender and author of one message do not affect the next message, whether the first message was
// accepted or refused.
func TestOneSession(t *testing.T) { behindEach(t, plain, nil, testOneSession) }

func testOneSession(t *testing.T, m *mx) {
	c := m.open(t, bankMX)
	steps := []struct {
		what, from, author string
		code               int
		label              []string
	}{
		{"the bank's own mail", "@bank.example", "info@bank.example", 250,
			[]string{"spf=pass", "dmarc=pass header.from=bank.example", "iprev=pass policy.iprev=192.0.2.10"}},
		{"someone else's author", "@bank.example", "letter@news.example", 550, nil},
		{"someone else's envelope", "@club.example", "chair@club.example", 250,
			[]string{"spf=fail", "dmarc=fail header.from=club.example", "iprev=pass policy.iprev=192.0.2.10"}},
		{"nobody's envelope", "", "letter@news.example", 550, nil}, // HELO has no SPF record, and the author's domain does not permit this host
		{"the bank's own mail again", "@bank.example", "info@bank.example", 250,
			[]string{"spf=pass", "dmarc=pass header.from=bank.example", "iprev=pass policy.iprev=192.0.2.10"}},
	}
	for i, s := range steps {
		from, to := unique(s.from), recipient()
		r := c.offer(t, from, to, mail{from: s.author}.bytes())
		if r.code != s.code {
			t.Fatalf("message %d, %s: %s, want %d", i+1, s.what, r, s.code)
		}
		if s.code == 250 {
			m.evaluated(t, "queue_id", r.accepted(t)).want(t, "client_ip", bankMX.addr,
				"client_name", m.mta.clientName(bankMX), "helo", bankMX.helo, "mail_from", "<"+from+">")
			run.inbox.wait(t, to).label(t).want(t, s.label...)
		}
	}
}

// TestRefusedRecipient: if the MTA refuses one recipient, the other recipients and later messages
// of the session are handled normally.
func TestRefusedRecipient(t *testing.T) { behindEach(t, plain, nil, testRefusedRecipient) }

func testRefusedRecipient(t *testing.T, m *mx) {
	c := m.open(t, bankMX)
	message := mail{from: "info@bank.example"}.bytes()

	r, err := c.send(unique("@bank.example"), []string{refusedRecipient}, message)
	if err != nil || r.code != 550 {
		t.Fatalf("the refused recipient alone: %v, %v", r, err)
	}
	good := recipient()
	r, err = c.send(unique("@bank.example"), []string{refusedRecipient, good}, message)
	if err != nil {
		t.Fatal(err)
	}
	r.accepted(t)
	run.inbox.wait(t, good).label(t).want(t, "spf=pass", "dmarc=pass")

	to := recipient()
	c.offer(t, unique("@bank.example"), to, message).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=pass", "dmarc=pass")
}

// TestAbandonedTransaction: a transaction ended by RSET does not affect the next transaction.
func TestAbandonedTransaction(t *testing.T) { behindEach(t, plain, nil, testAbandonedTransaction) }

func testAbandonedTransaction(t *testing.T, m *mx) {
	c := m.open(t, bankMX)
	for _, cmd := range []string{"MAIL FROM:<x@news.example>", "RCPT TO:<" + recipient() + ">", "RSET"} {
		if r, err := c.cmd("%s", cmd); err != nil || r.code != 250 {
			t.Fatalf("%s: %v, %v", cmd, r, err)
		}
	}
	to := recipient()
	c.offer(t, unique("@bank.example"), to, mail{from: "info@bank.example"}.bytes()).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=pass", "dmarc=pass")
}

// TestSeveralRecipients: a message to three recipients is evaluated once, and each recipient gets
// it with the label.
func TestSeveralRecipients(t *testing.T) { behindEach(t, plain, nil, testSeveralRecipients) }

func testSeveralRecipients(t *testing.T, m *mx) {
	to := []string{recipient(), recipient(), recipient()}
	r, err := m.open(t, bankMX).send(unique("@bank.example"), to, mail{from: "info@bank.example"}.bytes())
	if err != nil {
		t.Fatal(err)
	}
	m.evaluated(t, "queue_id", r.accepted(t)).want(t, "recipients", "3")
	for _, rcpt := range to {
		run.inbox.wait(t, rcpt).label(t).want(t, "dmarc=pass")
	}
}

// forgedResults are Authentication-Results fields that use our authserv-id, in several spellings.
var forgedResults = []string{
	"Authentication-Results: " + authServID + "; dkim=pass header.d=forged1.example",
	"authentication-results:" + authServID + " 1; dkim=pass header.d=forged2.example",
	"AUTHENTICATION-RESULTS: MX.Sekimori.EXAMPLE;\r\n\tdmarc=pass header.from=forged3.example",
	"Authentication-Results: (a comment) \"" + authServID + "\" ; dmarc=pass header.from=forged4.example",
	"Authentication-Results:\r\n " + authServID + ";\r\n spf=pass smtp.mailfrom=forged5.example",
}

// foreignResults are values with another authserv-id, sometimes similar to ours.
var foreignResults = []string{
	"mx.other.example; dkim=pass header.d=foreign1.example",
	"not-" + authServID + "; spf=pass smtp.mailfrom=foreign2.example",
	"sekimori.example; dmarc=pass header.from=foreign3.example",
	authServID + ".other.example; dmarc=pass header.from=foreign4.example",
}

// TestForgedResults: every Authentication-Results field with our authserv-id is deleted, at any
// place in the header (CVE-2022-48521). The fields with another authserv-id stay, unchanged and in
// order. Our own field comes first, and no other field has our authserv-id.
func TestForgedResults(t *testing.T) { behindEach(t, plain, nil, testForgedResults) }

func testForgedResults(t *testing.T, m *mx) {
	// The order is: forged and foreign fields mixed, then X-Between, then one foreign field, and
	// then all forged fields again.
	var fields []string
	for i, f := range forgedResults {
		fields = append(fields, f)
		if i < len(foreignResults) && i != 1 {
			fields = append(fields, "Authentication-Results: "+foreignResults[i])
		}
	}
	fields = append(fields, "X-Between: yes", "Authentication-Results: "+foreignResults[1])
	message := mail{from: "letter@news.example", extra: append(fields, forgedResults...)}.bytes()

	// The forger also signs the message. The valid signature must not keep forged fields in place.
	message = signed(t, message, "news.example", "s1")
	to := recipient()
	m.post(t, newsMX, unique("@news.example"), to, message).accepted(t)
	d := run.inbox.wait(t, to)
	d.label(t).want(t, "spf=pass", "dkim=pass", "dmarc=pass")

	want := []string{d.ours()[0], foreignResults[0], foreignResults[2], foreignResults[3], foreignResults[1]}
	if got := d.all("Authentication-Results"); !slices.Equal(got, want) {
		t.Errorf("the delivered fields are not ours and the foreign ones:\n%s", d.header())
	}
	if regexp.MustCompile(`forged\d`).MatchString(d.header()) {
		t.Errorf("something forged is left:\n%s", d.header())
	}
}

// TestForgedInHeld: forged results are also deleted from a message that is held, because the
// postmaster may release it later.
func TestForgedInHeld(t *testing.T) { behindEach(t, plain, nil, testForgedInHeld) }

func testForgedInHeld(t *testing.T, m *mx) {
	message := mail{from: "sale@shop.example", extra: forgedResults}.bytes()
	id := m.post(t, spoofer, unique("@shop.example"), recipient(), message).accepted(t)
	d := m.mta.held(t, id)
	d.label(t).want(t, "spf=fail", "dmarc=fail")
}

// TestNothingOfTheSendersIsAResult: our field contains only the domain of the address in MAIL FROM.
// So text in the local part, which the sender chose, cannot look like a result.
func TestNothingOfTheSendersIsAResult(t *testing.T) {
	behindEach(t, plain, nil, testNothingOfTheSendersIsAResult)
}

func testNothingOfTheSendersIsAResult(t *testing.T, m *mx) {
	for i, from := range []string{
		`"x; dmarc=pass header.from=bank.example"@club.example`,
		`"x\"; dmarc=pass (\\"@club.example`,
		`"x(; dkim=pass header.d=bank.example)"@club.example`,
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			to := recipient()
			m.post(t, spoofer, from, to, mail{from: "chair@club.example"}.bytes()).accepted(t)
			d := run.inbox.wait(t, to)
			d.label(t).want(t, "spf=fail", "dkim=none", "dmarc=fail", "arc=none", "iprev=pass")
			for _, value := range d.all("Authentication-Results") {
				if strings.Contains(value, "=pass header.") || !strings.Contains(value, "spf=fail smtp.mailfrom=club.example;") {
					t.Errorf("the field is %q", value)
				}
			}
		})
	}
}

// TestSMTPUTF8: if MAIL has the parameter SMTPUTF8, the domain in our field is written in UTF-8.
// Without the parameter the same domain is written in A-labels.
func TestSMTPUTF8(t *testing.T) {
	shared(t)
	m := newMX(t, plain, settings{"headers": "{mailfrom: address}"})
	for _, tt := range []struct{ mail, label string }{
		{"MAIL FROM:<用户@例え.example> SMTPUTF8 BODY=8BITMIME", "spf=none smtp.mailfrom=用户@例え.example; "},
		{"MAIL FROM:<a@xn--r8jz45g.example> BODY=8BITMIME SMTPUTF8", "spf=none smtp.mailfrom=a@例え.example; "},
		{"MAIL FROM:<a@xn--r8jz45g.example> BODY=8BITMIME", "spf=none smtp.mailfrom=a@xn--r8jz45g.example; "},
	} {
		to := recipient()
		c := m.open(t, spoofer)
		for _, line := range []string{tt.mail, "RCPT TO:<" + to + ">", "DATA"} {
			if r, err := c.cmd("%s", line); err != nil || r.code >= 400 {
				t.Fatalf("%s: %s, %v", line, r, err)
			}
		}
		r, err := c.content(mail{from: "a@xn--r8jz45g.example"}.bytes())
		if err != nil {
			t.Fatal(err)
		}
		r.accepted(t)
		if got := run.inbox.wait(t, to).all("Authentication-Results"); len(got) != 1 || !strings.Contains(got[0], tt.label) {
			t.Errorf("%s: %q", tt.mail, got)
		}
	}
}

// TestUnixSocket: a daemon on a unix socket serves Postfix, even if a killed daemon left its socket
// file behind.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	m := newMX(t, socket, nil)
	to := recipient()
	m.post(t, bankMX, unique("@bank.example"), to, mail{from: "info@bank.example"}.bytes()).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=pass", "dmarc=pass")

	m.kill()
	m.start(t)
	to = recipient()
	m.post(t, bankMX, unique("@bank.example"), to, mail{from: "info@bank.example"}.bytes()).accepted(t)
	run.inbox.wait(t, to).label(t).want(t, "spf=pass", "dmarc=pass")
}

// TestTrusted: mail from trusted networks and from users who logged in is not evaluated.
func TestTrusted(t *testing.T) {
	behindEach(t, login, settings{"trusted": `{networks: [127.0.0.0/8, "2001:db8:beef::/48"], authenticated: true}`}, testTrusted)
}

func testTrusted(t *testing.T, m *mx) {
	spoof := mail{from: "info@bank.example", extra: forgedResults[:2]}.bytes()
	cases := []struct {
		name   string
		client peer
		login  bool
		forged int // number of fields with our authserv-id that stay in the message
		reason string
	}{
		// Fields with our authserv-id stay, because a gateway of ours in the trusted network may
		// have written them.
		{"network", inside, false, 2, "trusted_network"},
		{"IPv6 network", peer{"", "2001:db8:beef::5", "desk.rcpt.test"}, false, 2, "trusted_network"},
		{"user", spoofer, true, 0, "authenticated"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := m.open(t, c.client)
			if c.login {
				if err := s.login(); err != nil {
					t.Fatal(err)
				}
			}
			to := recipient()
			id := s.offer(t, unique("@bank.example"), to, spoof).accepted(t)
			d := run.inbox.wait(t, to)
			if got := d.ours(); len(got) != c.forged {
				t.Errorf("%d fields in our name, want %d:\n%s", len(got), c.forged, d.header())
			}
			if m.logged("evaluated", "queue_id", id) != nil {
				t.Error("the message was evaluated")
			}
			m.record(t, "not evaluated", "queue_id", id).want(t, "reason", c.reason)
		})
	}
	if r := m.post(t, spoofer, unique("@bank.example"), recipient(), spoof); r.code != 550 {
		t.Errorf("a stranger's spoof got %s", r)
	}
	if got := m.metric(t, `sekimori_messages_total{verdict="skip"}`); got != float64(len(cases)) {
		t.Errorf("messages_total of skip is %v, want %d", got, len(cases))
	}
}
