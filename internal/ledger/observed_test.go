package ledger

import (
	"fmt"
	"net/netip"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

// TestDone checks what counts as done with a message. A quarantine by label is one.
func TestDone(t *testing.T) {
	for _, tt := range []struct {
		action, applied policy.Action
		enforced        bool
		want            policy.Action
	}{
		{policy.Quarantine, policy.Tag, true, policy.Quarantine}, {policy.Quarantine, policy.Tag, false, policy.Tag}, {policy.Quarantine, policy.Accept, true, policy.Accept},
		{policy.Reject, policy.Tag, true, policy.Tag}, {policy.Quarantine, policy.Quarantine, true, policy.Quarantine}, {policy.Tag, policy.Tag, true, policy.Tag},
	} {
		if got := done(&policy.Verdict{Action: tt.action, Applied: tt.applied, Enforced: tt.enforced}); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// TestTotalWords checks the words of a Total that do not stand in the evaluation as they are.
func TestTotalWords(t *testing.T) {
	results := []dkim.Result{dkim.Pass, dkim.TempError, dkim.Policy, dkim.Fail, dkim.PermError, dkim.Neutral} // the best first
	for i, best := range results {
		for _, other := range results[i:] {
			for _, all := range [][]dkim.Signature{{{Result: best}, {Result: other}}, {{Result: other}, {Result: best}}, {{Result: best}, {Result: "other"}}} {
				if got := bestDKIM(all); got != string(best) {
					t.Errorf("%s and %s: %s", all[0].Result, all[1].Result, got)
				}
			}
		}
	}
	if got := bestDKIM(nil); got != "none" {
		t.Errorf("no signature: %s", got)
	}
	got := total(&msgauth.Evaluation{}, &policy.Verdict{Applied: policy.Tag, Override: &policy.Override{Type: policy.OverrideOther}})
	if want := (Total{SPF: "none", DKIM: "none", Applied: "tag", Override: string(policy.OverrideOther), Messages: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestCountable checks of which messages the author domain may count.
func TestCountable(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		policy dmarc.Policy
		result dmarc.Result
		exists *bool
		want   bool
	}{
		{"reject", dmarc.ResultFail, nil, true}, {"reject", dmarc.ResultFail, &yes, true}, {"reject", dmarc.ResultFail, &no, false},
		{"", dmarc.ResultNone, nil, true}, {"", dmarc.ResultNone, &yes, true}, {"", dmarc.ResultNone, &no, false},
		{"", dmarc.ResultTempError, nil, false}, {"", dmarc.ResultPermError, &yes, false},
	} {
		e := &msgauth.Evaluation{DMARC: dmarc.Evaluation{PolicyPublished: tt.policy, Result: tt.result, AuthorExists: tt.exists}}
		if got := Countable(e); got != tt.want {
			t.Errorf("%q, %s, exists %v: %t", tt.policy, tt.result, tt.exists, got)
		}
	}
}

// TestPublishes checks what counts as published by a domain: each record, at the domain or below it.
func TestPublishes(t *testing.T) {
	for _, domain := range []dns.Name{"shop.example", "a.shop.example", "x.example"} {
		within := domain != "x.example"
		for why, tt := range map[string]struct {
			e    msgauth.Evaluation
			want bool
		}{
			"a DMARC record":      {msgauth.Evaluation{DMARC: dmarc.Evaluation{Record: &dmarc.Record{}, PolicyDomain: domain}}, within},
			"no DMARC record":     {msgauth.Evaluation{DMARC: dmarc.Evaluation{PolicyDomain: domain}}, false},
			"SPF":                 {msgauth.Evaluation{MailFrom: spf.Check{Record: "v=spf1", Domain: domain}}, within},
			"no SPF record":       {msgauth.Evaluation{MailFrom: spf.Check{Domain: domain}}, false},
			"SPF of HELO":         {msgauth.Evaluation{HELO: spf.Check{Record: "v=spf1", Domain: domain}}, within},
			"no SPF record there": {msgauth.Evaluation{HELO: spf.Check{Domain: domain}}, false},
			"a key":               {msgauth.Evaluation{DKIM: []dkim.Signature{{}, {Domain: domain, KeyBits: 2048}}}, within},
			"no key":              {msgauth.Evaluation{DKIM: []dkim.Signature{{Domain: domain}}}, false},
		} {
			if got := Publishes(&tt.e, "shop.example"); got != tt.want {
				t.Errorf("%s of %s: %t", why, domain, got)
			}
		}
	}
}

// TestJudgedWithoutRecord checks what passes where the author has no DMARC record: alignment is relaxed.
func TestJudgedWithoutRecord(t *testing.T) {
	for _, tt := range []struct {
		why       string
		e         msgauth.Evaluation
		result    Result
		dkim, spf bool
	}{
		{"nothing", msgauth.Evaluation{}, None, false, false},
		{"SPF", msgauth.Evaluation{MailFrom: spf.Check{Result: spf.Pass, Domain: "a.shop.example"}}, Pass, false, true},
		{"SPF of another", msgauth.Evaluation{MailFrom: spf.Check{Result: spf.Pass, Domain: "x.example"}}, None, false, false},
		{"SPF that fails", msgauth.Evaluation{MailFrom: spf.Check{Result: spf.Fail, Domain: "shop.example"}}, None, false, false},
		{"a signature", msgauth.Evaluation{DKIM: []dkim.Signature{{Result: dkim.Pass, Domain: "a.shop.example"}, {}}}, Pass, true, false},
		{"a signature of another", msgauth.Evaluation{DKIM: []dkim.Signature{{Result: dkim.Pass, Domain: "x.example"}}}, None, false, false},
		{"a signature that fails", msgauth.Evaluation{DKIM: []dkim.Signature{{Result: dkim.Fail, Domain: "shop.example"}}}, None, false, false},
	} {
		tt.e.DMARC.Result = dmarc.ResultNone
		var x Entry
		if x.judge(&tt.e, "shop.example"); x.Result != tt.result || x.DKIM != tt.dkim || x.SPF != tt.spf {
			t.Errorf("%s: %d, DKIM %t, SPF %t", tt.why, x.Result, x.DKIM, x.SPF)
		}
	}
	for result, want := range map[dmarc.Result]Result{dmarc.ResultPass: Pass, dmarc.ResultFail: Fail, dmarc.ResultTempError: TempError, dmarc.ResultPermError: None} {
		e := &msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: result, AlignedDKIM: result == dmarc.ResultPass}}
		var x Entry
		if x.judge(e, "shop.example"); x.Result != want || x.DKIM != (want == Pass) {
			t.Errorf("%s: %d, DKIM %t", result, x.Result, x.DKIM)
		}
	}
}

// TestSentFrom checks which messages count for the networks of SPF, and how.
func TestSentFrom(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.7")
	check := func(result spf.Result) spf.Check {
		return spf.Check{Result: result, Domain: "a.shop.example", Record: "v=spf1"}
	}
	without := func(change func(*spf.Check)) spf.Check {
		c := check(spf.Pass)
		change(&c)
		return c
	}
	for _, tt := range []struct {
		why                  string
		c                    spf.Check
		x                    Entry
		pass, missed, signed int64
	}{
		{"pass", check(spf.Pass), Entry{Client: client, Result: Pass, DKIM: true}, 1, 0, 0},
		{"fail", check(spf.Fail), Entry{Client: client, Result: Fail}, 0, 1, 0},
		{"softfail", check(spf.SoftFail), Entry{Client: client, Result: Fail}, 0, 1, 0},
		{"neutral", check(spf.Neutral), Entry{Client: client, Result: Fail}, 0, 1, 0},
		{"fail, and a signature passes", check(spf.Fail), Entry{Client: client, Result: Pass, DKIM: true}, 0, 1, 1},
		{"fail, and only SPF of HELO passes", check(spf.Fail), Entry{Client: client, Result: Pass, SPF: true}, 0, 1, 0},
		{"fail, and nothing is decided", check(spf.Fail), Entry{Client: client, Result: TempError, DKIM: true}, 0, 1, 0},
		{"none", check(spf.None), Entry{Client: client}, 0, 0, 0},
		{"temperror", check(spf.TempError), Entry{Client: client}, 0, 0, 0},
		{"permerror", check(spf.PermError), Entry{Client: client}, 0, 0, 0},
		{"no client", check(spf.Pass), Entry{}, 0, 0, 0},
		{"no domain", without(func(c *spf.Check) { c.Domain = "" }), Entry{Client: client}, 0, 0, 0},
		{"another domain", without(func(c *spf.Check) { c.Domain = "x.example" }), Entry{Client: client}, 0, 0, 0},
		{"no record", without(func(c *spf.Check) { c.Record = "" }), Entry{Client: client}, 0, 0, 0},
	} {
		tt.x.send(&msgauth.Evaluation{MailFrom: tt.c}, "shop.example")
		want := Sending{}
		if tt.pass+tt.missed > 0 {
			want = Sending{Network: netip.MustParsePrefix("192.0.2.0/24"), Pass: tt.pass, Missed: tt.missed, Signed: tt.signed, Record: recordHash("v=spf1")}
		}
		if tt.x.Sending != want {
			t.Errorf("%s: %+v, want %+v", tt.why, tt.x.Sending, want)
		}
	}
}

// TestWhichSignersCount checks which signatures of the author get an entry.
func TestWhichSignersCount(t *testing.T) {
	const domain = "shop.example"
	for _, tt := range []struct {
		why  string
		all  []dkim.Signature
		want string
	}{
		{"pass and fail", []dkim.Signature{{Domain: domain, Selector: "a", Result: dkim.Pass}, {Domain: domain, Selector: "b", Result: dkim.PermError}}, "[{shop.example a 1 0} {shop.example b 0 1}]"},
		{"no selector", []dkim.Signature{{Domain: domain, Result: dkim.Fail}}, "[]"},
		{"no answer", []dkim.Signature{{Domain: domain, Selector: "a", Result: dkim.TempError}}, "[]"},
		{"too many to look at", []dkim.Signature{{Domain: domain, Selector: "a", Result: dkim.Policy, Reason: dkim.ReasonTooManySignatures}}, "[]"},
		{"twice", []dkim.Signature{{Domain: domain, Selector: "a", Result: dkim.Pass}, {Domain: domain, Selector: "a", Result: dkim.Fail}}, "[{shop.example a 1 0}]"},
		{"another domain with the same selector", []dkim.Signature{{Domain: domain, Selector: "a", Result: dkim.Pass}, {Domain: "b." + domain, Selector: "a", Result: dkim.Fail}},
			"[{shop.example a 1 0} {b.shop.example a 0 1}]"},
		{"five", []dkim.Signature{{Domain: domain, Selector: "a"}, {Domain: domain, Selector: "b"}, {Domain: domain, Selector: "c"}, {Domain: domain, Selector: "d"}, {Domain: domain, Selector: "e"}},
			"[{shop.example a 0 1} {shop.example b 0 1} {shop.example c 0 1} {shop.example d 0 1}]"},
	} {
		var x Entry
		x.sign(&msgauth.Evaluation{DKIM: tt.all}, domain)
		if got := fmt.Sprint(x.Signers); got != tt.want || !x.Signed {
			t.Errorf("%s: %s, signed %t; want %s", tt.why, got, x.Signed, tt.want)
		}
	}
}

// TestObservedChange checks that the change by learned signs is the one that was told.
func TestObservedChange(t *testing.T) {
	for _, change := range []Change{Milder, Same, Harsher} {
		got, ok := Observe(evaluation(), &policy.Verdict{Action: policy.Accept, Applied: policy.Accept}, change, owner)
		if !ok || got.Change != change {
			t.Errorf("%d: %d, %t", change, got.Change, ok)
		}
	}
	if recordHash("v=spf1 a -all") == recordHash("v=spf1 mx -all") || recordHash("a") != 0xe40c292c { // FNV-1a of the reference
		t.Error("the hash does not tell records apart")
	}
}

// TestRowCounts checks which numbers of a row each kind of message adds to.
func TestRowCounts(t *testing.T) {
	for _, tt := range []struct {
		x    Entry
		want Counts
	}{
		{Entry{}, Counts{Messages: 1}},
		{Entry{Result: Pass}, Counts{Messages: 1, Pass: 1}},
		{Entry{Result: Pass, DKIM: true}, Counts{Messages: 1, Pass: 1, PassDKIM: 1}},
		{Entry{Result: Pass, SPF: true}, Counts{Messages: 1, Pass: 1, PassSPF: 1}},
		{Entry{Result: Fail}, Counts{Messages: 1, Fail: 1}},
		{Entry{Result: TempError, DKIM: true, SPF: true}, Counts{Messages: 1, TempError: 1}},
		{Entry{Signed: true}, Counts{Messages: 1, Signed: 1}},
		{Entry{Applied: policy.Reject}, Counts{Messages: 1, Rejected: 1}},
		{Entry{Applied: policy.Quarantine}, Counts{Messages: 1, Quarantined: 1}},
		{Entry{Applied: policy.Tag}, Counts{Messages: 1}},
		{Entry{Indirect: true}, Counts{Messages: 1, Indirect: 1}},
		{Entry{Change: Harsher}, Counts{Messages: 1, Harsher: 1}},
		{Entry{Change: Milder}, Counts{Messages: 1, Milder: 1}},
	} {
		var r Row
		if r.count(&tt.x); r.Counts != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.x, r.Counts, tt.want)
		}
	}
}
