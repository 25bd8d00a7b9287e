package e2e

import (
	"slices"
	"strings"
	"testing"
)

// forgedWords are X-Sekimori-Verdict fields written by a sender. The daemon writes its verdict word
// in a field with this name.
const forgedWords = "X-Sekimori-Verdict: pass\r\nx-sekimori-verdict:\r\n pass\r\nX-Sekimori-Verdict : pass\r\nX-SEKIMORI-VERDICT: fail-quarantine\r\n"

// TestStamps: a message is delivered with the X-Sekimori-Verdict word and the Subject that belong
// to its verdict.
func TestStamps(t *testing.T) {
	behindEach(t, plain, settings{"headers": `{verdict: true, subject: "[SPOOF?]", style: opendmarc}`, "policy": "{quarantine: tag}"}, testStamps)
}

func testStamps(t *testing.T, m *mx) {
	for _, tt := range []struct {
		client            peer
		author, subject   string
		word, wantSubject string
		dmarc             string
	}{
		{bankMX, "info@bank.example", "hello", "pass", "hello", "dmarc=pass (p=reject dis=none) header.from=bank.example"},
		{spoofer, "chair@club.example", "hello", "fail-none", "[SPOOF?] hello", "dmarc=fail (p=none dis=none) header.from=club.example"},
		{spoofer, "chair@club.example", "[SPOOF?] hello", "fail-none", "[SPOOF?] hello", "dmarc=fail (p=none dis=none) header.from=club.example"},
		{spoofer, "sale@shop.example", "=?utf-8?B?6Zai5a6I?=\r\n\t=?utf-8?Q?x?=", "fail-quarantine", "[SPOOF?] =?utf-8?B?6Zai5a6I?= =?utf-8?Q?x?=",
			"dmarc=fail (p=quarantine dis=quarantine) header.from=shop.example"},
		{spoofer, "a@plain.example", "hello", "no-policy", "hello", "dmarc=none (p=none dis=none) header.from=plain.example"},
	} {
		to := recipient()
		message := append([]byte(forgedWords), mail{from: tt.author, subject: tt.subject}.bytes()...)
		m.post(t, tt.client, unique("@"+strings.SplitN(tt.author, "@", 2)[1]), to, message).accepted(t)
		d := run.inbox.wait(t, to)
		d.label(t)
		if got := d.all("X-Sekimori-Verdict"); !slices.Equal(got, []string{tt.word}) {
			t.Errorf("%s: words %q, want %s\n%s", tt.author, got, tt.word, d.header())
		}
		if got := d.all("Subject"); !slices.Equal(got, []string{tt.wantSubject}) {
			t.Errorf("%s: subject %q, want %q", tt.author, got, tt.wantSubject)
		}
		if got := d.ours()[0]; !strings.Contains(got, tt.dmarc) {
			t.Errorf("%s: %s, want %s", tt.author, got, tt.dmarc)
		}
	}
}

// TestForgedWords: forged verdict fields are deleted even if the daemon is configured to write no
// such field. They are also deleted from mail of users who logged in, but not from mail of a
// trusted network.
func TestForgedWords(t *testing.T) { behindEach(t, login, settings{}, testForgedWords) }

func testForgedWords(t *testing.T, m *mx) {
	message := append([]byte(forgedWords), mail{from: "info@bank.example"}.bytes()...)
	c := m.open(t, spoofer)
	if err := c.login(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		who  string
		c    *session
		want int
	}{{"stranger", m.open(t, bankMX), 0}, {"user", c, 0}, {"our network", m.open(t, inside), 4}} {
		to := recipient()
		tt.c.offer(t, unique("@bank.example"), to, message).accepted(t)
		if got := run.inbox.wait(t, to).all("X-Sekimori-Verdict"); len(got) != tt.want {
			t.Errorf("%s: words %q are left, want %d", tt.who, got, tt.want)
		}
	}
}

// TestHeaderChecks: with the example deploy/postfix/milter_header_checks, Postfix acts on the
// verdict word that the daemon wrote, and not on a forged word.
func TestHeaderChecks(t *testing.T) {
	s := shared(t)
	t.Parallel()
	m := newMX(t, filed, settings{"headers": "{verdict: true}", "policy": "{quarantine: tag, invalid_from: tag}"})

	forged := recipient()
	m.post(t, bankMX, unique("@bank.example"), forged, append([]byte(forgedWords), mail{from: "info@bank.example"}.bytes()...)).accepted(t)
	if got := s.inbox.wait(t, forged).all("X-Sekimori-Verdict"); !slices.Equal(got, []string{"pass"}) {
		t.Errorf("a pass with a forged quarantine: %q", got)
	}

	to := recipient()
	from := unique("@shop.example")
	m.post(t, spoofer, from, to, mail{from: "sale@shop.example"}.bytes()).accepted(t)
	eventually(t, "the message in the quarantine mailbox", func() bool {
		return slices.ContainsFunc(s.inbox.to(t, to), func(d delivery) bool {
			return slices.Contains(d.all("Delivered-To"), quarantineBox) && !slices.Contains(d.all("Delivered-To"), to)
		})
	})
	if d := s.inbox.wait(t, to); !slices.Equal(d.all("X-Sekimori-Verdict"), []string{"fail-quarantine"}) {
		t.Errorf("redirected as %q", d.all("X-Sekimori-Verdict"))
	}

	id := m.post(t, spoofer, unique("@shop.example"), recipient(), mail{from: ""}.bytes()).accepted(t)
	if got := s.postfix.held(t, id).all("X-Sekimori-Verdict"); !slices.Equal(got, []string{"invalid-from"}) {
		t.Errorf("held as %q", got)
	}

	watched := recipient()
	m.post(t, spoofer, unique("@club.example"), watched, mail{from: "chair@club.example"}.bytes()).accepted(t)
	s.inbox.wait(t, watched)
	eventually(t, "a warning in Postfix's log", func() bool {
		return strings.Contains(s.postfix.tail("fails DMARC, its domain asks for nothing"), "X-Sekimori-Verdict: fail-none")
	})
}
