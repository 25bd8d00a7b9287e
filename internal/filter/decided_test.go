package filter

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// TestObserversKeepDecisions sends messages with different verdicts over one connection.
// Observers must be called once for each message, and later messages must not change the
// decisions that an observer has kept.
func TestObserversKeepDecisions(t *testing.T) {
	j := judge.Judge{
		Shadow: &policy.Config{Mode: policy.Enforce, Reject: policy.RejectAlways}, TrustAuthenticated: true,
		Label: label.Settings{Subject: "[SPOOF?]", ReceivedSPF: true},
	}
	addr, seen := serve(t, nameserver.Zone(t, zoneText), j, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	var kept [][]label.Edit
	for i, tt := range []struct {
		author, login      string
		verdict, candidate policy.Action // candidate is "" for a client that logged in
		edits              int
	}{
		{"hobby.example", "", policy.Tag, policy.Tag, 4},
		{"shop.example", "", policy.Quarantine, policy.Quarantine, 5},
		{"bank.example", "", policy.Reject, policy.Reject, 0},
		{"hobby.example", "ann", policy.Skip, "", 1},
		{"hobby.example", "", policy.Tag, policy.Tag, 4},
	} {
		s.c.SetMacro("{auth_authen}", tt.login)
		s.send(fmt.Sprintf("<x%d@evil.example>", i), forgedResult+fmt.Sprintf(mail, tt.author))
		if len(seen.decisions) != i+1 {
			t.Fatalf("%d decisions after %d messages", len(seen.decisions), i+1)
		}
		d := seen.decisions[i]
		if d.Verdict.Action != tt.verdict || len(d.Edits) != tt.edits || d.Envelope.MailFrom != fmt.Sprintf("<x%d@evil.example>", i) {
			t.Errorf("message %d: %s %+v, edits %+v", i, d.Verdict.Action, d.Envelope, d.Edits)
		}
		if (d.Shadow != nil) != (tt.candidate != "") || d.Shadow != nil && d.Shadow.Candidate.Action != tt.candidate {
			t.Errorf("message %d: shadow %+v", i, d.Shadow)
		}
		kept = append(kept, slices.Clone(d.Edits))
	}
	for i, d := range seen.decisions {
		if !reflect.DeepEqual(d.Edits, kept[i]) {
			t.Errorf("the edits of message %d are now\n%+v, were\n%+v", i, d.Edits, kept[i])
		}
	}
}

// TestTLSVersion checks that an observer gets the TLS version of the connection. A client that
// begins TLS says HELO again, and only then does the MTA name the version.
func TestTLSVersion(t *testing.T) {
	addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	for i, version := range []string{"", "TLSv1.3"} {
		s.c.SetMacro("{tls_version}", version)
		if _, err := s.c.Helo("h.example"); err != nil {
			t.Fatal(err)
		}
		s.send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example"))
		if len(seen.decisions) != i+1 || seen.decisions[i].Session.TLSVersion != version || seen.decisions[i].Evaluation.Session.TLSVersion != version {
			t.Errorf("message %d: %+v, want the version %q", i, seen.decisions, version)
		}
	}
}
