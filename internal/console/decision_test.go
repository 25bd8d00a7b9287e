package console

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/spf"
)

// failing returns a message of bank.example that fails DMARC. It came from a list, which signed it.
func failing() *msgauth.Evaluation {
	return &msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr("192.0.2.1"), HELO: "out.list.example", TLSVersion: "TLSv1.3"},
		Envelope: msgauth.Envelope{QueueID: "4Q1", MailFrom: "<bounce@list.example>", Recipients: []string{"<a@b.example>"}, Size: 2048},
		From:     author.From{AuthorDomain: "bank.example"},
		IPRev: iprev.Result{Status: iprev.Pass, Name: "out.list.example",
			Trace: []iprev.Step{{Name: "1.2.0.192.in-addr.arpa", Type: dns.TypePTR, Detail: "out.list.example"}}},
		HELO: spf.Check{Identity: spf.HELO, Result: spf.None, Domain: "out.list.example", Problem: "no SPF record"},
		MailFrom: spf.Check{
			Identity: spf.MailFrom, Result: spf.Pass, Domain: "list.example", Mechanism: "ip4:192.0.2.1",
			Record: "v=spf1 ip4:192.0.2.1 -all",
			Trace:  []spf.Step{{Domain: "list.example", Term: "ip4:192.0.2.1", Outcome: "match"}},
		},
		DKIM: []dkim.Signature{
			{Result: dkim.Fail, Reason: "body_hash", Domain: "bank.example", Selector: "s1", Algorithm: "rsa-sha256",
				SignedHeaders: []string{"From", "To"}},
			{Result: dkim.Pass, Domain: "list.example", Selector: "l1", KeyBits: 2048},
		},
		ARC: arc.Result{Status: arc.Pass, Sets: []arc.Set{{Instance: 1, Sealer: "sealer.example", CV: "none"}}},
		DMARC: dmarc.Evaluation{
			Result: dmarc.ResultFail, Reason: dmarc.ReasonNotAligned, PolicyPublished: dmarc.PolicyReject, PolicyDomain: "bank.example",
			Disposition: dmarc.PolicyReject, Record: &dmarc.Record{Raw: "v=DMARC1; p=reject"},
			Trace: []dmarc.Step{{Name: "_dmarc.bank.example", Type: dns.TypeTXT, Purpose: dmarc.PurposeAuthor, Found: dmarc.FoundRecord}},
			Alignments: []dmarc.Alignment{
				{Identifier: dmarc.Identifier{Mechanism: dmarc.SPF, Domain: "list.example", State: dmarc.StatePass}},
				{Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: "list.example", State: dmarc.StatePass}, Error: &dmarc.DNSError{}},
			},
		},
	}
}

func rejected() policy.Verdict {
	return policy.Verdict{
		Action: policy.Reject, Applied: policy.Tag, Reason: policy.ReasonReject, ID: "7G3K0A2B", Evidence: []string{"the evidence"},
	}
}

// TestDecisionIsLaidOut checks that every fact of the decision is in its place.
func TestDecisionIsLaidOut(t *testing.T) {
	b := newBench(t)
	b.ring.Decided(decided(failing(), rejected()), 0)
	body := b.get(t, "/decision?id=7G3K0A2B").Body.String()
	rest := body
	for _, part := range []struct {
		heading string
		want    []string
	}{
		{"<h1", []string{"REJECT, because", `v-reject">reject</b> <small>applied as`, "mode monitor", `q=bank.example">`,
			`q=bounce%40list.example">bounce@list.example`,
			"192.0.2.1", "TLSv1.3", "<dt>Recipients</dt><dd>1<", "<dt>Size</dt><dd>2 KiB<", "4Q1", "7G3K0A2B"}},
		{"<h2>Why", []string{"evidence: the evidence"}},
		{"<h2>Identities", []string{">bank.example<", "not_aligned; bank.example publishes reject",
			"ip4:192.0.2.1 of list.example", `data-label="Aligned">no<`, "no SPF record"}},
		{"<h2>Signatures", []string{"body_hash", "From:To", `data-label="Aligned">-<`,
			"2048 bits", `data-label="Aligned">not known<`, "names sealer.example as its sealer (cv=none)"}},
		{"<h2>DNS", []string{"list.example: ip4:192.0.2.1", "_dmarc.bank.example TXT",
			"1.2.0.192.in-addr.arpa PTR", "v=spf1 ip4:192.0.2.1 -all", "v=DMARC1; p=reject"}},
		{"<h2>Header edits", []string{"does not keep them"}},
		{"<h2>To copy", []string{"sekimori explain --id 7G3K0A2B</textarea>", "- id: accept-7G3K0A2B"}},
		{"<details>", []string{"<h3>DMARC</h3>"}},
	} {
		_, after, found := strings.Cut(rest, part.heading)
		if !found {
			t.Fatalf("%q is not after the part before it:\n%s", part.heading, body)
		}
		rest = after
		text, _, _ := strings.Cut(after, "<h2>")
		for _, want := range part.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q:\n%s", part.heading, want, text)
			}
		}
	}
}

// TestRule checks the rule that the page offers: the configuration accepts it, and with it the same
// message is accepted, but no message of the author without the same evidence.
func TestRule(t *testing.T) {
	for _, tt := range []struct {
		reason string
		change func(*msgauth.Evaluation, *policy.Verdict)
		want   string // the conditions, or "" if no rule is offered
	}{
		{"a signature that passes", func(*msgauth.Evaluation, *policy.Verdict) {},
			`author: ["bank.example"], dkim: ["list.example"], dmarc: [fail]`},
		{"SPF", func(e *msgauth.Evaluation, _ *policy.Verdict) { e.DKIM = e.DKIM[:1] },
			`author: ["bank.example"], spf: ["list.example"], dmarc: [fail]`},
		{"only the client", func(e *msgauth.Evaluation, _ *policy.Verdict) { e.DKIM, e.MailFrom.Result = nil, spf.SoftFail },
			`author: ["bank.example"], client: ["192.0.2.1/32"], dmarc: [fail]`},
		{"a client of IPv6", func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.DKIM, e.MailFrom.Result, e.Session.Client = nil, spf.SoftFail, netip.MustParseAddr("fe80::1%eth0")
		}, `author: ["bank.example"], client: ["fe80::1/128"], dmarc: [fail]`},
		{"no DMARC record", func(e *msgauth.Evaluation, v *policy.Verdict) {
			e.DMARC = dmarc.Evaluation{Result: dmarc.ResultNone}
			v.Action = policy.Tag
		}, `author: ["bank.example"], dkim: ["list.example"], dmarc: [none]`},
		{"a queue ID that is not plain text", func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.Envelope.QueueID = "\x00\"'\u202e\U0001f600\n- id: x"
		},
			`author: ["bank.example"], dkim: ["list.example"], dmarc: [fail]`},
		{"no client", func(e *msgauth.Evaluation, _ *policy.Verdict) {
			e.DKIM, e.MailFrom.Result, e.Session.Client = nil, spf.SoftFail, netip.Addr{}
		}, ""},
		{"accepted", func(_ *msgauth.Evaluation, v *policy.Verdict) { v.Action = policy.Accept }, ""},
		{"a missing answer", func(e *msgauth.Evaluation, v *policy.Verdict) {
			v.Action, e.DMARC.Result = policy.TempFail, dmarc.ResultTempError
		}, ""},
		{"no author", func(e *msgauth.Evaluation, _ *policy.Verdict) { e.From.AuthorDomain = "" }, ""},
		{"an author that a rule cannot name", func(e *msgauth.Evaluation, _ *policy.Verdict) { e.From.AuthorDomain = `a"]}.example` }, ""},
		{"another rule decided", func(_ *msgauth.Evaluation, v *policy.Verdict) { v.Rule = "r" }, ""},
	} {
		e, v := failing(), rejected()
		tt.change(e, &v)
		d := &recent.Entry{ID: v.ID, QueueID: e.Envelope.QueueID, Evaluation: e, Verdict: v}
		text, hint := rule(d, start)
		if tt.want == "" || text == "" {
			if text != tt.want || hint != "" {
				t.Errorf("%s: offers %q, %q, want %q", tt.reason, text, hint, tt.want)
			}
			continue
		}
		if !strings.Contains(text, "{"+tt.want+"}") || !strings.Contains(text, "expires: 2027-02-20\n") {
			t.Errorf("%s: %s", tt.reason, text)
		}
		if got := policy.Decide(e, configured(t, text)); got.Action != policy.Accept || got.Rule != "accept-7G3K0A2B" {
			t.Errorf("%s: with the rule the message is decided as %s by %q:\n%s", tt.reason, got.Action, got.Rule, text)
		}
		spoof := failing()
		spoof.Session.Client, spoof.DKIM, spoof.MailFrom = netip.MustParseAddr("203.0.113.66"), nil, spf.Check{}
		if got := policy.Decide(spoof, configured(t, text)); got.Rule != "" {
			t.Errorf("%s: the rule accepts a forgery:\n%s", tt.reason, text)
		}
	}
}

// configured returns the policy of a configuration that has this text below policy.overrides.
func configured(t *testing.T, text string) policy.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sekimori.yaml")
	whole := "mode: enforce\nauthserv_id: mx.here.example\npolicy:\n  overrides:\n    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, whole)
	}
	rules, err := cfg.Rules(config.LoadRules)
	if err != nil {
		t.Fatalf("%v\n%s", err, whole)
	}
	return rules.Policy
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct{ id, queueID, want string }{
		{"7G3K", "4Q", "sekimori explain --id 7G3K"},
		{"", "4Qx.y", "sekimori explain --queue-id 4Qx.y"},
		{"", "4Q;reboot", ""},
		{"", "--json", ""},
		{"$(reboot)", "4Q", "sekimori explain --queue-id 4Q"},
		{"", "", ""},
	} {
		got := ""
		for _, o := range offers(&recent.Entry{ID: tt.id, QueueID: tt.queueID}, time.Time{}) {
			got += o.Text
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", fmt.Sprint(tt), got, tt.want)
		}
	}
}

// TestRelayed checks that the page names the relay. The TLS version is that of the relay's connection,
// so it must not stand beside the client.
func TestRelayed(t *testing.T) {
	b := newBench(t)
	e := failing()
	e.Session.Relay = netip.MustParseAddr("198.51.100.25")
	b.ring.Decided(decided(e, rejected()), 0)
	b.shows(t, "/decision?id=7G3K0A2B", 200, "helo out.list.example, by relay 198.51.100.25<", "!TLSv1.3")
}
