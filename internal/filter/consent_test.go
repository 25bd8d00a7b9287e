package filter

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// directory is a directory of recipients whose answer depends on the beginning of the local
// part. It knows "in" and "out" without a lookup. For "slow" it needs a lookup. A lookup of
// "never" ends only when its context ends.
type directory struct {
	asked   atomic.Int64
	flying  atomic.Int64
	most    atomic.Int64
	release chan struct{} // if not nil, lookups of "slow" end when it is closed
}

func (d *directory) Known(typed, rewritten string) (policy.Class, bool) {
	s := strings.Trim(typed, "<>")
	if rewritten != "" {
		s = rewritten
	}
	switch {
	case strings.HasPrefix(s, "in"):
		return policy.In, true
	case strings.HasPrefix(s, "slow"), strings.HasPrefix(s, "never"):
		return "", false
	}
	return policy.Out, true
}

func (d *directory) Lookup(ctx context.Context, typed, _ string) policy.Class {
	d.asked.Add(1)
	n := d.flying.Add(1)
	defer d.flying.Add(-1)
	for old := d.most.Load(); n > old && !d.most.CompareAndSwap(old, n); old = d.most.Load() {
	}
	if strings.HasPrefix(typed, "<never") {
		<-ctx.Done()
		return policy.Out
	}
	if d.release != nil {
		select {
		case <-d.release:
		case <-ctx.Done():
			return policy.Out
		}
	}
	if strings.HasPrefix(typed, "<slow-out") {
		return policy.Out
	}
	return policy.In
}

// offerTo sends a message to the recipients, and returns the replies and edits.
func (s mtaSession) offerTo(raw string, to ...string) client.Result {
	s.t.Helper()
	res, err := s.c.SendMessage(client.Envelope{From: "<x@evil.example>", To: to, QueueID: "4Q"}, []byte(strings.ReplaceAll(raw, "\n", "\r\n")))
	if err != nil {
		s.t.Fatal(err)
	}
	return res
}

// labelOf returns the value of the field that is inserted as the first of the header.
func labelOf(t *testing.T, res client.Result) string {
	t.Helper()
	for _, m := range res.Modifications {
		if m.Name == "Authentication-Results" {
			return strings.Join(strings.Fields(m.Value), " ")
		}
	}
	t.Fatalf("no label, but %s %+v", res.Action, res.Modifications)
	return ""
}

func TestConsentLenient(t *testing.T) {
	spoof := fmt.Sprintf(mail, "bank.example")
	for _, tt := range []struct {
		name    string
		raw     string
		to      []string
		o       judge.Judge
		code    int    // expected reply code of a refusal; 0 if the message is delivered
		label   string // expected part of the label of a delivered message
		consent policy.Consent
	}{
		{name: "all agreed", raw: spoof, to: []string{"<in@x>", "<slow@x>"}, code: 550, consent: policy.Consent{In: 2}},
		{name: "one of many opted out", raw: spoof, to: []string{"<in@x>", "<in2@x>", "<out@x>"},
			label:   "dmarc=fail (mixed recipients: reject where consented, tag where opted out, tag for all: dmarc_reject) header.from",
			consent: policy.Consent{In: 2, Out: 1}},
		{name: "found by asking", raw: spoof, to: []string{"<slow@x>", "<slow-out@x>"}, label: "mixed recipients", consent: policy.Consent{In: 1, Out: 1}},
		{name: "all opted out", raw: spoof, to: []string{"<out@x>", "<slow-out@x>"}, label: "dmarc=fail (opted out, would reject: dmarc_reject) header.from",
			consent: policy.Consent{Out: 2}},
		{name: "a hold", raw: fmt.Sprintf(mail, "shop.example"), to: []string{"<out@x>"}, label: "(opted out, would quarantine: dmarc_quarantine)",
			consent: policy.Consent{Out: 1}},
		{name: "an answer that does not come", raw: spoof, to: []string{"<in@x>", "<never@x>"}, label: "mixed recipients", consent: policy.Consent{In: 1, Out: 1}},
		{name: "p=none", raw: fmt.Sprintf(mail, "hobby.example"), to: []string{"<in@x>", "<out@x>"}, label: "dmarc=fail (tag: dmarc_policy_none)",
			consent: policy.Consent{In: 1, Out: 1}},
		{name: "a DNS failure does not defer the message", raw: fmt.Sprintf(mail, "silent.example"), to: []string{"<in@x>", "<out@x>"},
			o:       judge.Judge{Policy: policy.Config{TempErrorUnknown: policy.TempFail}},
			label:   "dmarc=temperror (mixed recipients: tempfail where consented, tag where opted out, tag for all: temperror, not decided: policy timeout)",
			consent: policy.Consent{In: 1, Out: 1}},
		{name: "monitor mode", raw: spoof, to: []string{"<out@x>"}, o: judge.Judge{Policy: policy.Config{Mode: policy.Monitor}},
			label: "(opted out, would reject: dmarc_reject)", consent: policy.Consent{Out: 1}},
		{name: "monitor mode turns nobody away", raw: spoof, to: []string{"<in@x>", "<out@x>"},
			o: judge.Judge{Split: true, Policy: policy.Config{Mode: policy.Monitor}}, label: "mixed recipients", consent: policy.Consent{In: 1, Out: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Recipients, tt.o.ConsentWait = &directory{}, 30*time.Second
			if tt.name == "an answer that does not come" {
				tt.o.ConsentWait = time.Millisecond
			}
			addr, seen := serve(t, nameserver.Zone(t, zoneText), tt.o, milter.Limits{})
			s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
			for range 2 { // the first message must not change the result of the second
				res := s.offerTo(tt.raw, tt.to...)
				if res.Action.Code != tt.code || quarantined(res) {
					t.Fatalf("answer %s, quarantined %t", res.Action, quarantined(res))
				}
				if tt.code == 0 && !strings.Contains(labelOf(t, res), tt.label) {
					t.Errorf("label %q lacks %q", labelOf(t, res), tt.label)
				}
			}
			for _, v := range seen.verdicts {
				v.Consent.Elapsed = 0
				if v.Consent != tt.consent {
					t.Errorf("consent %+v, want %+v", v.Consent, tt.consent)
				}
			}
		})
	}
}

func TestConsentSplit(t *testing.T) {
	addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Recipients: &directory{}, ConsentWait: time.Second, Split: true}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	spoof := fmt.Sprintf(mail, "bank.example")

	res := s.offerTo(spoof, "<out@x>", "<in@x>", "<slow@x>", "<slow-out@x>")
	if got := fmt.Sprint(res.Recipients); got != "[continue 452 4.5.3 Recipient wants other filtering than those before, send this one apart "+
		"452 4.5.3 Recipient wants other filtering than those before, send this one apart continue]" {
		t.Errorf("recipients: %s", got)
	}
	if got := labelOf(t, res); !strings.Contains(got, "(opted out, would reject: dmarc_reject)") {
		t.Errorf("label %s", got)
	}
	// The client sends the message again, to the recipients that were refused.
	if res := s.offerTo(spoof, "<in@x>", "<slow@x>"); res.Action.Code != 550 {
		t.Errorf("recipients who agreed: %s", res.Action)
	}
	if len(seen.verdicts) != 2 || seen.verdicts[0].Consent.Out != 2 || seen.verdicts[0].Consent.In != 0 || seen.verdicts[1].Consent.In != 2 {
		t.Errorf("observers were told %+v", seen.verdicts)
	}

	// After RSET or an aborted message, the first recipient of the next message decides the
	// class again.
	for _, step := range []func() (client.Action, error){
		func() (client.Action, error) { return s.c.Mail("<x@evil.example>") },
		func() (client.Action, error) { return s.c.Rcpt("<out@x>") },
	} {
		if a, err := step(); err != nil || !a.Delivers() {
			t.Fatalf("%s, %v", a, err)
		}
	}
	if err := s.c.Abort(); err != nil {
		t.Fatal(err)
	}
	if res := s.offerTo(spoof, "<in@x>"); len(res.Recipients) != 1 || !res.Recipients[0].Delivers() {
		t.Errorf("after RSET: %+v", res.Recipients)
	}
}

// TestConsentRewritten checks that the class is that of the address after the MTA's
// rewriting, and that a rewritten address is not used for the next recipient.
func TestConsentRewritten(t *testing.T) {
	addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Recipients: &directory{}, ConsentWait: time.Second, Split: true}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	if _, err := s.c.Mail("<x@evil.example>"); err != nil {
		t.Fatal(err)
	}
	for rewritten, code := range map[string]int{"in@x": 0} {
		s.c.SetMacro("{rcpt_addr}", rewritten)
		if a, err := s.c.Rcpt("<out%x@y>"); err != nil || a.Code != code {
			t.Errorf("%s: %s, %v", rewritten, a, err)
		}
	}
	s.c.SetMacro("{rcpt_addr}", "out@x")
	if a, err := s.c.Rcpt("<in%x@y>"); err != nil || a.Code != 452 {
		t.Errorf("the second recipient was taken for the first: %s, %v", a, err)
	}
	if len(seen.verdicts) != 0 {
		t.Errorf("%+v", seen.verdicts)
	}
}

// TestConsentTrusted checks that a message that is not evaluated takes recipients of both
// classes, and that no recipient is looked up.
func TestConsentTrusted(t *testing.T) {
	d := &directory{}
	for _, o := range []judge.Judge{{Trusted: func(netip.Addr) bool { return true }}, {TrustAuthenticated: true}} {
		o.Recipients, o.ConsentWait, o.Split = d, time.Second, true
		addr, seen := serve(t, nameserver.Zone(t, zoneText), o, milter.Limits{})
		s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
		s.c.SetMacro("{auth_authen}", "alice")
		res := s.offerTo(fmt.Sprintf(mail, "bank.example"), "<out@x>", "<in@x>", "<slow@x>")
		for _, a := range append(res.Recipients, res.Action) {
			if !a.Delivers() {
				t.Errorf("answer %s", a)
			}
		}
		if len(seen.skipped) != 1 || d.asked.Load() != 0 {
			t.Errorf("skipped %v, %d lookups", seen.skipped, d.asked.Load())
		}
	}
}

// TestConsentSplitTooLate checks a connection on which the MTA does not wait for replies at
// RCPT. There the reply 452 would refuse the whole message, so the message takes recipients
// of both classes.
func TestConsentSplitTooLate(t *testing.T) {
	seen := &recorder{}
	o := Options{Observers: []Observer{seen}, Judge: &judge.Judge{
		Verifier: msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{}), Label: label.Settings{Names: label.Names{AuthServID: id}},
		Recipients: &directory{}, ConsentWait: time.Second, Split: true,
	}}
	s := milter.New(milter.Options{NewSession: New(o).NewSession}) // ReplyAt is not set, so the MTA does not wait at RCPT
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	m := open(t, ln.Addr().String(), "203.0.113.1", "h.example", client.PostfixOffer())
	res := m.offerTo(fmt.Sprintf(mail, "bank.example"), "<in@x>", "<out@x>")
	if got := labelOf(t, res); !res.Action.Delivers() || !strings.Contains(got, "mixed recipients") {
		t.Errorf("%s %s", res.Action, got)
	}
	if err := m.c.Quit(); err != nil {
		t.Error(err)
	}
}

func TestReplyAt(t *testing.T) {
	d := &directory{}
	for _, tt := range []struct {
		o    judge.Judge
		want bool
	}{
		{judge.Judge{}, false},
		{judge.Judge{Split: true}, false},
		{judge.Judge{Recipients: d}, false},
		{judge.Judge{Recipients: d, Split: true}, true},
		{judge.Judge{Recipients: d, Split: true, Policy: policy.Config{Mode: policy.Monitor}}, false},
	} {
		if got := New(Options{Judge: &tt.o}).ReplyAt(); got != (milter.ReplyAt{Rcpt: tt.want}) {
			t.Errorf("%+v: %+v", tt.o, got)
		}
	}
}
