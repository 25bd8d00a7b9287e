package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// fate says what the MTA did with a message.
type fate string

const (
	delivered fate = "delivered"
	held      fate = "held"
	refused   fate = "refused"
)

// spoofText returns a pattern for the reply to a spoofed message from a domain with p=reject.
func spoofText(domain string) string {
	return `^5\.7\.1 Email rejected per DMARC policy for ` + regexp.QuoteMeta(domain) + ` \(\w+\)$`
}

// verdictCases are judged by a daemon with the default policy.
var verdictCases = []struct {
	name, why string
	client    peer
	envelope  string // the address in MAIL FROM; a local part is added if this begins with @
	message   func(t *testing.T) []byte
	fate      fate
	reply     string   // pattern for the text of the reply, if the message is refused
	label     []string // lines for label.want, if the message is not refused
	log       []string // keys and values for record.want, checked against the log record of the message
}{
	{
		name: "DKIM aligned", why: "a valid signature of the author's domain is enough, whoever carries the message",
		client: spoofer, envelope: "@plain.example",
		message: func(t *testing.T) []byte {
			return signed(t, mail{from: "News <letter@news.example>"}.bytes(), "news.example", "s1")
		},
		fate: delivered,
		label: []string{
			"spf=none", "dkim=pass header.d=news.example header.s=s1 header.a=rsa-sha256",
			"dmarc=pass header.from=news.example policy.dmarc=reject", "arc=none", "iprev=pass policy.iprev=192.0.2.66",
		},
		log: []string{"dmarc", "pass", "verdict", "accept", "aligned_dkim", "true", "aligned_spf", "false", "client_ip", "192.0.2.66", "header_from", "news.example"},
	},
	{
		name: "SPF aligned", why: "an address the author's domain permits is enough without a signature",
		client: bankMX, envelope: "@bank.example",
		message: func(*testing.T) []byte { return mail{from: "info@bank.example"}.bytes() },
		fate:    delivered,
		label:   []string{"spf=pass", "dkim=none", "dmarc=pass header.from=bank.example policy.dmarc=reject"},
		log:     []string{"spf", "pass", "spf_domain", "bank.example", "aligned_spf", "true", "helo", "mail.bank.example", "verdict", "accept"},
	},
	{
		name: "two signatures", why: "RFC 8463 §3: a sender signs with RSA and with Ed25519; each is judged and shown",
		client: newsMX, envelope: "@news.example",
		message: func(t *testing.T) []byte {
			return signed(t, signed(t, mail{from: "letter@news.example"}.bytes(), "news.example", "s1"), "news.example", "e1")
		},
		fate: delivered,
		label: []string{
			"spf=pass", "dkim=pass header.s=s1 header.a=rsa-sha256", "dkim=pass header.s=e1 header.a=ed25519-sha256",
			"dmarc=pass header.from=news.example",
		},
		log: []string{"aligned_spf", "true", "aligned_dkim", "true"},
	},
	{
		name: "key over TCP", why: "an answer cut short by UDP is had by TCP",
		client: spoofer, envelope: "@plain.example",
		message: func(t *testing.T) []byte {
			return signed(t, mail{from: "letter@news.example"}.bytes(), "news.example", "s2")
		},
		fate: delivered, label: []string{"dkim=pass header.s=s2", "dmarc=pass"},
	},
	{
		name: "awkward message", why: "dots, folds, trailing space, 8-bit text and long lines must reach the hash as the sender wrote them",
		client: spoofer, envelope: "@plain.example",
		message: func(t *testing.T) []byte {
			m := mail{
				from: "=?utf-8?q?N=C3=A9ws?=\r\n\t<letter@news.example>", subject: "one \r\n  two\t \r\n three ",
				body: ".\n..\n.leading dot\ntrailing space \t\n\n\u95a2\u5b88 " + strings.Repeat("x", 900) + "\n\n\n",
			}
			return signed(t, m.bytes(), "news.example", "s1")
		},
		fate: delivered, label: []string{"dkim=pass", "dmarc=pass"},
	},
	{
		name: "IPv6 client", why: "SPF's ip6 and iprev work on the address Postfix sees",
		client: sixMX, envelope: "@six.example",
		message: func(*testing.T) []byte { return mail{from: "a@six.example"}.bytes() },
		fate:    delivered,
		label:   []string{"spf=pass", "dmarc=pass header.from=six.example", "iprev=pass policy.iprev=2001:db8::25"},
		log:     []string{"client_ip", "2001:db8::25", "verdict", "accept"},
	},
	{
		name: "null sender", why: "RFC 7208 §2.4: SPF checks postmaster at the HELO name, and that aligns",
		client: bounceMX, envelope: "",
		message: func(*testing.T) []byte { return mail{from: "MAILER-DAEMON@bounce.example"}.bytes() },
		fate:    delivered,
		label:   []string{"spf=pass smtp.helo=mail.bounce.example", "dmarc=pass header.from=bounce.example"},
	},
	{
		name: "spoof under reject", why: "nothing aligns, the domain asks for a reject and SPF says fail",
		client: spoofer, envelope: "@bank.example",
		message: func(*testing.T) []byte { return mail{from: "Your bank <info@bank.example>"}.bytes() },
		fate:    refused, reply: "^550 " + spoofText("bank.example")[1:],
		log: []string{"dmarc", "fail", "policy", "reject", "verdict", "reject", "applied", "reject", "enforced", "true", "reason", "dmarc_reject"},
	},
	{
		name: "spoof with an authenticated envelope", why: "the spoofer's own domain passes SPF but does not align",
		client: bankMX, envelope: "@bank.example",
		message: func(*testing.T) []byte { return mail{from: "letter@news.example"}.bytes() },
		fate:    refused, reply: "^550 " + spoofText("news.example")[1:],
		log: []string{"spf", "pass", "dmarc", "fail", "verdict", "reject"},
	},
	{
		name: "spoof under quarantine", why: "the domain asks for a quarantine: the client is told yes, the message is held",
		client: spoofer, envelope: "@shop.example",
		message: func(*testing.T) []byte { return mail{from: "sale@shop.example"}.bytes() },
		fate:    held,
		label:   []string{"spf=fail", "dkim=none", "dmarc=fail header.from=shop.example policy.dmarc=quarantine"},
		log:     []string{"verdict", "quarantine", "applied", "quarantine", "disposition", "quarantine"},
	},
	{
		name: "through a mailing list", why: "RFC 9989 §7.4: p=reject alone must not lead to a reject of what looks like indirect mail",
		client: spoofer, envelope: "@plain.example",
		message: func(t *testing.T) []byte {
			m := signed(t, mail{from: "letter@news.example"}.bytes(), "news.example", "s1")
			return append([]byte("List-Id: <gardeners.plain.example>\r\n"), append(m, "-- \r\nThe list's footer\r\n"...)...)
		},
		fate:  held,
		label: []string{"dkim=fail header.d=news.example", "dmarc=fail header.from=news.example policy.dmarc=reject"},
		log:   []string{"verdict", "quarantine", "override", "mailing_list", "reason", "dmarc_indirect"},
	},
	{
		name: "fail under none", why: "p=none changes nothing but the label",
		client: spoofer, envelope: "@club.example",
		message: func(*testing.T) []byte { return mail{from: "chair@club.example"}.bytes() },
		fate:    delivered,
		label:   []string{"spf=fail", "dmarc=fail header.from=club.example policy.dmarc=none"},
		log:     []string{"verdict", "tag", "disposition", "none"},
	},
	{
		name: "no record", why: "a domain that publishes nothing",
		client: spoofer, envelope: "@plain.example",
		message: func(*testing.T) []byte { return mail{from: "a@plain.example"}.bytes() },
		fate:    delivered,
		label:   []string{"spf=none", "dkim=none", "dmarc=none header.from=plain.example"},
		log:     []string{"dmarc", "none", "policy", ""},
	},
	{
		name: "SPF fail without DMARC", why: "policy.spf_fail: tag is the default",
		client: spoofer, envelope: "@old.example",
		message: func(*testing.T) []byte { return mail{from: "a@old.example"}.bytes() },
		fate:    delivered, label: []string{"spf=fail", "dmarc=none"},
		log: []string{"verdict", "tag", "reason", "spf_fail"},
	},
	{
		name: "DNS refuses", why: "a policy that cannot be had is no fail",
		client: spoofer, envelope: "@lost.example",
		message: func(t *testing.T) []byte {
			return signed(t, mail{from: "a@lost.example"}.bytes(), "lost.example", "s1")
		},
		fate:  delivered,
		label: []string{"spf=temperror", "dkim=temperror header.d=lost.example", "dmarc=temperror header.from=lost.example"},
		log:   []string{"dmarc", "temperror", "verdict", "tag", "not_decided", "policy servfail"},
	},
	{
		name: "the key is gone, p=reject", why: "a spoofer who keeps an answer away is put off, not let in",
		client: spoofer, envelope: "@spoof.example",
		message: func(t *testing.T) []byte {
			return signed(t, mail{from: "info@bank.example"}.bytes(), "bank.example", "gone")
		},
		fate: refused, reply: `^451 4\.7\.5 `,
		log: []string{"dmarc", "temperror", "verdict", "tempfail", "not_decided", "dkim servfail"},
	},
	{
		name: "two From fields", why: "CVE-2019-16378: one author for the verifier, another for the reader",
		client: newsMX, envelope: "@news.example",
		message: func(t *testing.T) []byte {
			m := signed(t, mail{from: "letter@news.example"}.bytes(), "news.example", "s1")
			return append([]byte("From: Your bank <info@bank.example>\r\n"), m...)
		},
		fate: refused, reply: `^550 5\.7\.1 `,
		log: []string{"verdict", "reject", "reason", "invalid_from"},
	},
	{
		name: "no From field", why: "no author, no policy to ask for: never simply passed on",
		client: newsMX, envelope: "@news.example",
		message: func(*testing.T) []byte { return mail{}.bytes() },
		fate:    refused, reply: `^550 5\.7\.1 `,
		log: []string{"verdict", "reject", "reason", "invalid_from"},
	},
	{
		name: "two authors", why: "a From with addresses of two domains has no one policy",
		client: newsMX, envelope: "@news.example",
		message: func(*testing.T) []byte { return mail{from: "letter@news.example, info@bank.example"}.bytes() },
		fate:    refused, reply: `^550 5\.7\.1 `,
		log: []string{"verdict", "reject", "reason", "invalid_from"},
	},
}

func TestVerdicts(t *testing.T) { behindEach(t, plain, nil, testVerdicts) }

func testVerdicts(t *testing.T, m *mx) {
	for _, c := range verdictCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() { m.show(t) })
			from, to := unique(c.envelope), recipient()
			message := c.message(t)
			r := m.post(t, c.client, from, to, message)
			d := m.expect(t, r, to, c.fate, c.reply, c.why)
			if c.fate == refused {
				m.evaluated(t, "mail_from", "<"+from+">").want(t, c.log...)
				return
			}
			d.label(t).want(t, c.label...)
			m.evaluated(t, "queue_id", r.queueID()).want(t, c.log...)
			if t.Failed() {
				t.Logf("expected because %s; our field:\n%s", c.why, d.ours())
			}
		})
	}
}

// unique adds a random local part to an envelope address that begins with @. The test can then find
// the message in the log. Other addresses, such as the null sender, are returned unchanged.
func unique(envelope string) string {
	if !strings.HasPrefix(envelope, "@") {
		return envelope
	}
	local, _, _ := strings.Cut(recipient(), "@")
	return local + envelope
}

// trace waits until the message is delivered or held, and returns it. If the reply is a refusal, it
// returns at once.
func (m *mx) trace(t *testing.T, r reply, to string) (delivery, fate) {
	t.Helper()
	if r.code/100 != 2 {
		return delivery{}, refused
	}
	id := r.accepted(t)
	where := fate("")
	eventually(t, "message "+id+" delivered or held", func() bool {
		switch {
		case len(run.inbox.to(t, to)) > 0:
			where = delivered
		case m.mta.holds(id):
			where = held
		}
		return where != ""
	})
	if where == held {
		return m.mta.held(t, id), held
	}
	return run.inbox.wait(t, to), delivered
}

// expect checks that the fate of a message is the argument "want". The argument "reply" is a
// pattern for the text of the reply to a refused message. The argument "why" is the reason given in
// the test case, for the failure message.
func (m *mx) expect(t *testing.T, r reply, to string, want fate, reply, why string) delivery {
	t.Helper()
	d, where := m.trace(t, r, to)
	if where != want {
		t.Fatalf("%s, want %s: %s\nbecause %s", where, want, r, why)
	}
	if where == refused && !regexp.MustCompile(reply).MatchString(r.String()) {
		t.Errorf("the client was told %q, want %s", r, reply)
	}
	return d
}

// optionCases are cases that each need a daemon with its own configuration.
var optionCases = []struct {
	name, why string
	settings  settings
	client    peer
	from      string // the From address; MAIL FROM has the same domain and another local part
	twoFroms  bool
	fate      fate
	reply     string
	label     []string
	comment   string // text that the comment of the dmarc result must contain
	log       []string
	counted   string // verdict whose messages_total must be 1
}{
	{
		name: "quarantine by tag", why: "policy.quarantine: tag delivers and says so in the header",
		settings: settings{"policy": "{quarantine: tag}"}, client: spoofer, from: "@shop.example",
		fate: delivered, label: []string{"dmarc=fail header.from=shop.example policy.dmarc=quarantine"}, comment: "quarantine",
		log: []string{"verdict", "quarantine", "applied", "tag"}, counted: "quarantine",
	},
	{
		name: "monitor and reject", why: "monitor mode acts on nothing and says what it would have done",
		settings: settings{"mode": "monitor"}, client: spoofer, from: "@bank.example",
		fate: delivered, label: []string{"dmarc=fail header.from=bank.example policy.dmarc=reject"}, comment: "would reject",
		log: []string{"verdict", "reject", "applied", "tag", "enforced", "false"}, counted: "reject",
	},
	{
		name: "monitor and quarantine", why: "nothing is held in monitor mode",
		settings: settings{"mode": "monitor"}, client: spoofer, from: "@shop.example",
		fate: delivered, label: []string{"dmarc=fail"}, comment: "would quarantine",
		log: []string{"verdict", "quarantine", "applied", "tag", "enforced", "false"}, counted: "quarantine",
	},
	{
		name: "monitor and invalid From", why: "nothing is refused in monitor mode",
		settings: settings{"mode": "monitor"}, client: newsMX, from: "@news.example", twoFroms: true,
		fate: delivered, comment: "would reject",
		log: []string{"verdict", "reject", "applied", "tag", "reason", "invalid_from"}, counted: "reject",
	},
	{
		name: "monitor and temporary error", why: "nothing is put off in monitor mode",
		settings: settings{"mode": "monitor", "policy": "{temperror_unknown: tempfail}"}, client: spoofer, from: "@lost.example",
		fate: delivered, label: []string{"dmarc=temperror"}, comment: "would tempfail",
		log: []string{"verdict", "tempfail", "applied", "tag"}, counted: "tempfail",
	},
	{
		name: "temporary error put off", why: "policy.temperror_unknown: tempfail",
		settings: settings{"policy": "{temperror_unknown: tempfail}"}, client: spoofer, from: "@lost.example",
		fate: refused, reply: `^451 4\.7\.(5|24) `,
		log: []string{"verdict", "tempfail", "dmarc", "temperror"}, counted: "tempfail",
	},
	{
		name: "SPF fail rejected", why: "policy.spf_fail: reject where no DMARC policy applies; RFC 7372 §3.2",
		settings: settings{"policy": "{spf_fail: reject}"}, client: spoofer, from: "@old.example",
		fate: refused, reply: `^550 5\.7\.23 `,
		log: []string{"verdict", "reject", "reason", "spf_fail"}, counted: "reject",
	},
	{
		name: "no policy rejected", why: "policy.no_policy: reject where nothing passes; RFC 7372 §3.3",
		settings: settings{"policy": "{no_policy: reject}"}, client: spoofer, from: "@plain.example",
		fate: refused, reply: `^550 5\.7\.26 `,
		log: []string{"verdict", "reject", "reason", "no_policy"}, counted: "reject",
	},
	{
		name: "reject softened", why: "policy.reject: quarantine never rejects for DMARC",
		settings: settings{"policy": "{reject: quarantine}"}, client: spoofer, from: "@bank.example",
		fate: held, label: []string{"dmarc=fail header.from=bank.example"},
		log: []string{"verdict", "quarantine", "override", "local_policy"}, counted: "quarantine",
	},
	{
		name: "invalid From tagged", why: "policy.invalid_from: tag",
		settings: settings{"policy": "{invalid_from: tag}"}, client: newsMX, from: "@news.example", twoFroms: true,
		fate: delivered, log: []string{"verdict", "tag", "reason", "invalid_from"}, counted: "tag",
	},
}

func TestOptions(t *testing.T) {
	for _, c := range optionCases {
		t.Run(c.name, func(t *testing.T) {
			behindEach(t, plain, c.settings, func(t *testing.T, m *mx) {
				from, to := unique(c.from), recipient()
				message := mail{from: "someone" + c.from}
				if c.twoFroms {
					message.extra = []string{"From: other@bank.example"}
				}
				r := m.post(t, c.client, from, to, message.bytes())
				d := m.expect(t, r, to, c.fate, c.reply, c.why)
				if c.fate != refused {
					label := d.label(t)
					label.want(t, c.label...)
					if said := label.of("dmarc"); len(said) != 1 || !strings.Contains(strings.Join(said[0].comments, " "), c.comment) {
						t.Errorf("the dmarc result %+v has no comment with %q", said, c.comment)
					}
				}
				m.evaluated(t, "mail_from", "<"+from+">").want(t, c.log...)
				if got := m.metric(t, `sekimori_messages_total{verdict="`+c.counted+`"}`); got != 1 {
					t.Errorf("messages_total of %s is %v, want 1", c.counted, got)
				}
			})
		})
	}
}
