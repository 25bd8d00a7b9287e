package filter

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// TestGrants checks MTAs that allow every action but one. The observers must be told what was done,
// and not only what was decided.
func TestGrants(t *testing.T) {
	const add, change, hold = milter.ActionAddHeader, milter.ActionChangeHeader, milter.ActionQuarantine
	type outcome struct {
		action, applied policy.Action
		reason          policy.Reason
		enforced        bool
		code            int  // of the reply; 0 if the message is delivered
		held            bool // the MTA is asked to hold it
		fields          int  // Authentication-Results in the delivered message
	}
	none, held := policy.ReasonNone, policy.ReasonQuarantine
	for _, tt := range []struct {
		why      string
		without  milter.Action
		author   string
		forged   bool
		mode     policy.Mode
		want     outcome
		evidence string
	}{
		{"everything is allowed", 0, "hobby.example", true, policy.Enforce, outcome{policy.Tag, policy.Tag, none, true, 0, false, 1}, ""},
		{"no fields can be added", add, "hobby.example", false, policy.Enforce,
			outcome{policy.TempFail, policy.TempFail, policy.ReasonUnlabelled, true, 451, false, 0}, "does not allow"},
		{"no fields can be added, and one is forged", add, "hobby.example", true, policy.Enforce,
			outcome{policy.TempFail, policy.TempFail, policy.ReasonUnlabelled, true, 451, false, 0}, "does not allow"},
		{"no fields can be added in monitor mode", add, "hobby.example", false, policy.Monitor,
			outcome{policy.Tag, policy.Accept, none, false, 0, false, 0}, "does not allow"},
		{"no fields can be deleted", change, "hobby.example", false, policy.Enforce, outcome{policy.Tag, policy.Tag, none, true, 0, false, 1}, ""},
		{"no fields can be deleted, and one is forged", change, "hobby.example", true, policy.Enforce,
			outcome{policy.Reject, policy.Reject, policy.ReasonForged, true, 550, false, 0}, "does not let fields be deleted"},
		{"no fields can be deleted in monitor mode, and one is forged", change, "hobby.example", true, policy.Monitor,
			outcome{policy.Reject, policy.Tag, policy.ReasonForged, false, 0, false, 2}, "does not let fields be deleted"},
		{"it can hold", 0, "shop.example", true, policy.Enforce, outcome{policy.Quarantine, policy.Quarantine, held, true, 0, true, 1}, ""},
		{"it cannot hold", hold, "shop.example", true, policy.Enforce,
			outcome{policy.Quarantine, policy.Tag, held, true, 0, false, 1}, "offers no quarantine"},
		{"it cannot hold, and nothing would be held", hold, "hobby.example", true, policy.Enforce, outcome{policy.Tag, policy.Tag, none, true, 0, false, 1}, ""},
		{"it can hold and not add", add, "shop.example", false, policy.Enforce,
			outcome{policy.TempFail, policy.TempFail, policy.ReasonUnlabelled, true, 451, false, 0}, "does not allow"},
	} {
		addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Policy: policy.Config{Mode: tt.mode}}, milter.Limits{})
		offer := client.PostfixOffer()
		offer.Actions &^= uint32(tt.without)
		raw := fmt.Sprintf(mail, tt.author)
		if tt.forged {
			raw = forgedResult + raw
		}
		res, h := open(t, addr, "203.0.113.1", "h.example", offer).send("<x@evil.example>", raw)
		if len(seen.verdicts) != 1 {
			t.Fatalf("%s: %d verdicts", tt.why, len(seen.verdicts))
		}
		v := seen.verdicts[0]
		fields := 0
		if res.Action.Delivers() {
			fields = len(h.Values(authres.FieldName))
		}
		got := outcome{v.Action, v.Applied, v.Reason, v.Enforced, res.Action.Code, quarantined(res), fields}
		if got != tt.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tt.why, got, tt.want)
		}
		evidence := strings.Join(v.Evidence, "; ")
		if (evidence == "") != (tt.evidence == "") || !strings.Contains(evidence, tt.evidence) {
			t.Errorf("%s: evidence %q", tt.why, evidence)
		}
	}
}

// TestFactsOfEnvelope checks what observers are told of the transaction: the recipients in order, and
// a queue id that the MTA names only after the first recipient, as Postfix does.
func TestFactsOfEnvelope(t *testing.T) {
	addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	for _, step := range []func() (client.Action, error){
		func() (client.Action, error) { return s.c.Mail("<x@evil.example>", "SMTPUTF8") },
		func() (client.Action, error) { return s.c.Rcpt("<one@here.example>") },
		func() (client.Action, error) { return s.c.Rcpt("<two@here.example>") },
		func() (client.Action, error) { s.c.SetMacro("i", "4Late"); return s.c.Data() },
		func() (client.Action, error) { return s.c.Header("From", " a@hobby.example") },
		s.c.EndOfHeader,
		func() (client.Action, error) { return s.c.Body([]byte("x\r\n")) },
	} {
		if a, err := step(); err != nil || a.Kind != client.Continue {
			t.Fatal(a, err)
		}
	}
	if a, _, err := s.c.EndOfMessage(); err != nil || !a.Delivers() {
		t.Fatal(a, err)
	}
	if len(seen.decisions) != 1 {
		t.Fatalf("%d decisions", len(seen.decisions))
	}
	for what, e := range map[string]msgauth.Envelope{"the decision": seen.decisions[0].Envelope, "the evaluation": seen.decisions[0].Evaluation.Envelope} {
		if e.QueueID != "4Late" || e.MailFrom != "<x@evil.example>" || !e.SMTPUTF8 || strings.Join(e.Recipients, " ") != "<one@here.example> <two@here.example>" {
			t.Errorf("%s has %+v", what, e)
		}
	}
}

// TestHeloAfterSwap checks that a session that takes over new options evaluates its HELO name again.
func TestHeloAfterSwap(t *testing.T) {
	seen := &recorder{}
	options := func() Options {
		return Options{Observers: []Observer{seen}, Judge: &judge.Judge{
			Verifier: msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{}), Label: namedLabel(),
		}}
	}
	f := New(options())
	s := open(t, serveFilter(t, f), "192.0.2.1", "helo.bank.example", client.PostfixOffer())
	for i := range 3 {
		s.send("<a@bank.example>", fmt.Sprintf(mail, "bank.example"))
		e := seen.decisions[i].Evaluation
		if e.HELO.Result != spf.Pass || e.HELO.Domain != dns.Name("helo.bank.example") || e.Session.HELO != "helo.bank.example" {
			t.Errorf("message %d: %+v", i, e.HELO)
		}
		f.Swap(options())
	}
}

// TestEnvelopeLimits checks that a message over a limit on its envelope gets the answer of package
// milter and no verdict. In monitor mode it goes on, and its verdict says which limit it was.
func TestEnvelopeLimits(t *testing.T) {
	for _, tt := range []struct {
		why    string
		limits milter.Limits
		what   string
		answer string
	}{
		{"recipients", milter.Limits{MaxRecipients: 2}, milter.OversizeRecipients, "452 4.5.3 Too many recipients"},
		{"octets", milter.Limits{MaxEnvelopeBytes: 60}, milter.OversizeEnvelope, "452 4.5.3 Too many recipients"},
	} {
		for _, mode := range policy.Modes {
			addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Policy: policy.Config{Mode: mode}}, tt.limits)
			s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
			res := s.offerTo(fmt.Sprintf(mail, "hobby.example"), "<a@here.example>", "<b@here.example>", "<c@here.example>")
			switch {
			case mode == policy.Enforce && (res.Action.String() != tt.answer || len(seen.decisions) != 0):
				t.Errorf("%s: %s, %d decisions", tt.why, res.Action, len(seen.decisions))
			case mode == policy.Monitor && (!res.Action.Delivers() || len(seen.decisions) != 1 || seen.decisions[0].Oversize != tt.what):
				t.Errorf("%s in monitor mode: %s, %+v", tt.why, res.Action, seen.decisions)
			}
		}
	}
}
