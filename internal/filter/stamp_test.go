package filter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/message"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// verdictField returns the word in the VerdictField of the delivered header. There must be
// exactly one such field.
func verdictField(t *testing.T, h message.Header) string {
	t.Helper()
	v := h.Values(label.VerdictField)
	if len(v) != 1 {
		t.Fatalf("%d %s fields in %q", len(v), label.VerdictField, h)
	}
	return strings.TrimSpace(v[0])
}

// TestStamps checks the VerdictField and the Subject of delivered messages. A VerdictField
// from the sender must be deleted, whether or not we write one.
func TestStamps(t *testing.T) {
	const forged = "X-Sekimori-Verdict: pass\nx-sekimori-VERDICT:pass\nX-Sekimori-Verdict : pass\nX-Sekimori-Verdict-Not: mine\n"
	stamps := judge.Judge{Label: label.Settings{Verdict: true, Subject: "[SPOOF?]"}}
	monitored, split := stamps, stamps
	monitored.Policy.Mode = policy.Monitor
	split.Recipients, split.ConsentWait = &directory{}, time.Second
	for _, tt := range []struct {
		name    string
		o       judge.Judge
		ip      string
		author  string
		word    string // expected word; "" if there must be no VerdictField
		subject string
	}{
		{"pass", stamps, "192.0.2.1", "bank.example", "pass", "s"},
		{"p=none", stamps, "203.0.113.1", "hobby.example", "fail-none", "[SPOOF?] s"},
		{"p=quarantine", stamps, "203.0.113.1", "shop.example", "fail-quarantine", "[SPOOF?] s"},
		{"no record", stamps, "203.0.113.1", "nobody.example", "no-policy", "s"},
		{"monitor mode does nothing to the message", monitored, "203.0.113.1", "bank.example", "fail-monitor", "s"},
		{"p=none in monitor mode", monitored, "203.0.113.1", "hobby.example", "fail-none", "s"},
		{"no stamp for a recipient who opted out", split, "203.0.113.1", "bank.example", "fail-opted-out", "s"},
		{"p=none for a recipient who opted out", split, "203.0.113.1", "hobby.example", "fail-none", "s"},
		{"no word of ours", judge.Judge{}, "203.0.113.1", "hobby.example", "", "s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := serve(t, nameserver.Zone(t, zoneText), tt.o, milter.Limits{})
			s := open(t, addr, tt.ip, "h.example", client.PostfixOffer())
			res, h := s.send("<a@"+tt.author+">", forged+fmt.Sprintf(mail, tt.author))
			if !res.Action.Delivers() {
				t.Fatalf("answer %s", res.Action)
			}
			ours(t, h)
			if tt.word == "" {
				if v := h.Values(label.VerdictField); len(v) != 0 {
					t.Errorf("forged words are left: %q", v)
				}
			} else if got := verdictField(t, h); got != tt.word {
				t.Errorf("word %q, want %q", got, tt.word)
			}
			if got := strings.TrimSpace(strings.Join(h.Values("Subject"), "|")); got != tt.subject {
				t.Errorf("subject %q, want %q", got, tt.subject)
			}
			if len(h.Values("X-Sekimori-Verdict-Not")) != 1 {
				t.Error("another field is gone")
			}
		})
	}
}

// TestForgedWordOfUser checks that a VerdictField is also deleted from a message of a user
// who logged in.
func TestForgedWordOfUser(t *testing.T) {
	addr, _ := serve(t, nameserver.Zone(t, zoneText), judge.Judge{TrustAuthenticated: true, Label: label.Settings{Verdict: true}}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	s.c.SetMacro("{auth_authen}", "alice")
	if _, h := s.send("<a@bank.example>", "X-Sekimori-Verdict: pass\nX-SEKIMORI-verdict: pass\n"+fmt.Sprintf(mail,
		"bank.example")); len(h.Values(label.VerdictField)) != 0 {
		t.Errorf("forged words are left: %q", h)
	}
}

// TestSubjectNotNegotiated checks an MTA that allows filters to add fields but not to
// change them. The message must be delivered with its original Subject.
func TestSubjectNotNegotiated(t *testing.T) {
	addr, _ := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Label: label.Settings{Subject: "[SPOOF?]"}}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.Offer{Version: 6, Actions: 0x1ff &^ 0x10, Protocol: 0x1fffff})
	res, h := s.send("<a@hobby.example>", fmt.Sprintf(mail, "hobby.example"))
	if !res.Action.Delivers() || strings.TrimSpace(h.Values("Subject")[0]) != "s" {
		t.Errorf("answer %s, header %q", res.Action, h)
	}
}

// TestSubjects checks that every Subject field is stamped once, and that a message without
// a Subject gets one with the stamp.
func TestSubjects(t *testing.T) {
	for _, tt := range []struct{ reason, subjects, want string }{
		{"none", "", "[SPOOF?]"},
		{"several", "Subject: a\nsubject: [SPOOF?] b\nSUBJECT: c\n", "[SPOOF?] a|[SPOOF?] b|[SPOOF?] c"},
	} {
		addr, _ := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Label: label.Settings{Subject: "[SPOOF?]"}}, milter.Limits{})
		s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
		_, h := s.send("<a@hobby.example>", tt.subjects+"From: a@hobby.example\n\nx\n")
		var got []string
		for _, v := range h.Values("Subject") {
			got = append(got, strings.TrimSpace(v))
		}
		if strings.Join(got, "|") != tt.want {
			t.Errorf("%s: %q", tt.reason, got)
		}
		ours(t, h)
	}
}
