package filter

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/topology"
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

// TestHeloAfterSwap checks that a session that takes over new options evaluates its client and HELO name again, and
// that a session with the same options does not.
func TestHeloAfterSwap(t *testing.T) {
	seen, zone := &recorder{}, nameserver.Zone(t, zoneText)
	options := func() Options {
		return Options{Observers: []Observer{seen}, Judge: &judge.Judge{
			Verifier: msgauth.NewVerifier(zone, msgauth.Options{}), Label: namedLabel(),
		}}
	}
	f := New(options())
	addr := serveFilter(t, f)
	s := open(t, addr, "192.0.2.1", "helo.bank.example", client.PostfixOffer())
	for i := range 4 {
		s.send("<a@bank.example>", fmt.Sprintf(mail, "bank.example"))
		e := seen.decisions[i].Evaluation
		if e.HELO.Result != spf.Pass || e.HELO.Domain != dns.Name("helo.bank.example") || e.Session.HELO != "helo.bank.example" {
			t.Errorf("message %d: %+v", i, e.HELO)
		}
		if i%2 == 1 {
			f.Swap(options())
		}
	}
	asked := 0
	for _, q := range zone.Queries() {
		if strings.HasPrefix(q, "1.2.0.192.in-addr.arpa") {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("the client's name was looked up %d times for four messages and one swap between them: %q", asked, zone.Queries())
	}
	s = open(t, addr, "192.0.2.1", "", client.PostfixOffer())
	f.Swap(options())
	s.send("<a@bank.example>", fmt.Sprintf(mail, "bank.example"))
	if e := seen.decisions[4].Evaluation; e.HELO.Problem != "no HELO" {
		t.Errorf("a client that said no HELO: %+v", e.HELO)
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

// TestApply checks the edits one by one: which of them an MTA that grants nothing lets pass, and that an edit
// that is not valid is an error whatever is granted.
func TestApply(t *testing.T) {
	forged := label.Edit{Kind: label.Delete, Name: "X-A", Index: 1, Forged: true}
	other := label.Edit{Kind: label.Delete, Name: "X-B", Index: 1}
	many := label.Edit{Kind: label.DeleteMany, Name: "X-C", Index: 1, Kept: &label.Kept{}}
	change := label.Edit{Kind: label.Change, Name: "Subject", Index: 1, Value: " x"}
	hold := label.Edit{Kind: label.Quarantine, Value: "x"}
	insert := label.Edit{Kind: label.Insert, Name: "X-D", Value: " x"}
	bad := func(e label.Edit) label.Edit { e.Name = "not a name"; return e }
	type result struct{ held, left, failed bool }
	for _, tt := range []struct {
		why         string
		edits       []label.Edit
		grants, not result
	}{
		{"nothing", nil, result{true, false, false}, result{true, false, false}},
		{"a forged field", []label.Edit{forged}, result{true, false, false}, result{true, true, false}},
		{"a forged field and another", []label.Edit{forged, other}, result{true, false, false}, result{true, true, false}},
		{"another and a forged one", []label.Edit{other, forged}, result{true, false, false}, result{true, true, false}},
		{"many", []label.Edit{many}, result{true, false, false}, result{true, false, false}},
		{"a change", []label.Edit{change}, result{true, false, false}, result{true, false, false}},
		{"a hold", []label.Edit{hold}, result{true, false, false}, result{false, false, false}},
		{"an insertion", []label.Edit{insert}, result{true, false, false}, result{true, false, true}},
		{"an insertion after a hold", []label.Edit{hold, insert}, result{true, false, false}, result{false, false, true}},
		{"a change that is not valid", []label.Edit{bad(change)}, result{true, false, true}, result{true, false, false}},
		{"a deletion that is not valid", []label.Edit{bad(other)}, result{true, false, true}, result{true, false, false}},
		{"many that are not valid", []label.Edit{bad(many)}, result{true, false, true}, result{true, false, false}},
		{"an edit of no known kind", []label.Edit{{Kind: "other", Name: "not a name", Index: 1, Kept: &label.Kept{}}}, result{true, false, false}, result{true, false, false}},
		{"an insertion that is not valid", []label.Edit{bad(insert)}, result{true, false, true}, result{true, false, true}},
		{"a hold that is not valid", []label.Edit{{Kind: label.Quarantine, Value: "a\nb"}}, result{false, false, false}, result{false, false, false}},
	} {
		for _, granted := range []bool{true, false} {
			got := make(chan result, 1)
			f := New(Options{Judge: &judge.Judge{Verifier: msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{}), Label: namedLabel()}})
			addr := serveSessions(t, func(c *milter.Conn) milter.Session {
				s := f.NewSession(c).(*session)
				return ending{s, func(m *milter.Modifier) milter.Reply {
					held, left, err := s.apply(tt.edits, m)
					got <- result{held, left, err != nil}
					return milter.Accept
				}}
			})
			offer, want := client.PostfixOffer(), tt.grants
			if !granted {
				offer.Actions, want = 0, tt.not
			}
			open(t, addr, "203.0.113.1", "h.example", offer).send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example"))
			if r := <-got; r != want {
				t.Errorf("%s, granted %t: %+v, want %+v", tt.why, granted, r, want)
			}
		}
	}
}

// ending is a session of which a test plays the end of the message.
type ending struct {
	milter.Session
	end func(m *milter.Modifier) milter.Reply
}

func (e ending) EndOfMessage(_ context.Context, m *milter.Modifier) milter.Reply { return e.end(m) }

// TestLacks checks what is noticed of an MTA that does not offer an ability: this, and nothing else.
func TestLacks(t *testing.T) {
	const leadingSpace = 1 << 20 // of the protocol flags
	for lack, without := range map[topology.Lack]client.Offer{
		"":                        {},
		topology.LackAdd:          {Actions: uint32(milter.ActionAddHeader)},
		topology.LackChange:       {Actions: uint32(milter.ActionChangeHeader)},
		topology.LackQuarantine:   {Actions: uint32(milter.ActionQuarantine)},
		topology.LackMacros:       {Actions: uint32(milter.ActionAskMacros)},
		topology.LackLeadingSpace: {Protocol: leadingSpace},
	} {
		watch := topology.New(slog.New(slog.DiscardHandler))
		addr, seen := serveWatched(t, nameserver.Zone(t, zoneText), judge.Judge{}, milter.Limits{}, watch)
		offer := client.PostfixOffer()
		offer.Actions &^= without.Actions
		offer.Protocol &^= without.Protocol
		open(t, addr, "203.0.113.1", "h.example", offer).send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example"))
		for _, l := range topology.Lacks {
			if n := watch.Lacking(l); (n != 0) != (l == lack) {
				t.Errorf("without %q: %d lack %s", lack, n, l)
			}
		}
		if got := seen.decisions[0].Session.NoLeadingSpace; got != (lack == topology.LackLeadingSpace) {
			t.Errorf("without %q: the leading space is hidden: %t", lack, got)
		}
	}
}

// TestEmpty checks which transactions count as those without a message: one with a recipient that ends before
// its message does.
func TestEmpty(t *testing.T) {
	watch := topology.New(slog.New(slog.DiscardHandler))
	addr, _ := serveWatched(t, nameserver.Zone(t, zoneText), judge.Judge{}, milter.Limits{}, watch)
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	s.send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example"))
	for _, steps := range [][]func() (client.Action, error){
		{func() (client.Action, error) { return s.c.Mail("<x@evil.example>") }},
		{func() (client.Action, error) { return s.c.Mail("<x@evil.example>") }, func() (client.Action, error) { return s.c.Rcpt("<a@here.example>") }},
		{func() (client.Action, error) { return s.c.Mail("<x@evil.example>") }, func() (client.Action, error) { return s.c.Rcpt("<a@here.example>") }, s.c.Data},
	} {
		for _, step := range steps {
			if a, err := step(); err != nil || a.Kind != client.Continue {
				t.Fatal(a, err)
			}
		}
		if err := s.c.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	s.send("<x@evil.example>", fmt.Sprintf(mail, "hobby.example")) // its reply comes when all before it was handled
	if n := watch.Transactions(); n != 2 {
		t.Errorf("%d transactions without a message", n)
	}
}

// TestLateNames checks an MTA that names itself, and the message, only after MAIL.
func TestLateNames(t *testing.T) {
	for _, fields := range []int{1, 30} { // the second message is over the limit
		addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Label: label.Settings{Names: label.Names{HostName: "host"}},
			Policy: policy.Config{Mode: policy.Monitor}}, milter.Limits{MaxHeaderFields: 20})
		s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
		for _, step := range []func() (client.Action, error){
			func() (client.Action, error) { return s.c.Mail("<x@evil.example>") },
			func() (client.Action, error) { return s.c.Rcpt("<one@here.example>") },
		} {
			if a, err := step(); err != nil || a.Kind != client.Continue {
				t.Fatal(a, err)
			}
		}
		for macro, value := range map[string]string{"i": "4Late", "j": "mx.late.example"} {
			if err := s.c.SendMacro('L', macro, value); err != nil {
				t.Fatal(err)
			}
		}
		for range fields {
			if _, err := s.c.Header("X", " y"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.c.EndOfHeader(); err != nil {
			t.Fatal(err)
		}
		_, mods, err := s.c.EndOfMessage()
		if err != nil || len(mods) == 0 || !strings.Contains(mods[len(mods)-1].Value, "mx.late.example") {
			t.Errorf("%d fields: %+v, %v", fields, mods, err)
		}
		if len(seen.decisions) != 1 || seen.decisions[0].Envelope.QueueID != "4Late" || (seen.decisions[0].Oversize != "") != (fields > 20) {
			t.Errorf("%d fields: %+v", fields, seen.decisions)
		}
	}
}
