package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// The tests in this file need each term of each condition: of two rows that
// differ in one fact, one has the outcome and the other does not.

// TestVouching checks each fact that is needed for a trusted sealer to vouch.
// All rows but those that say so have results that vouch.
func TestVouching(t *testing.T) {
	const good, bad = " lists.example; spf=fail smtp.mailfrom=x.example; dmarc=pass", " lists.example; dmarc=fail"
	trusted := []dns.Name{"other.example", "lists.example"}
	accepted := outcome{Accept, ReasonForwarder}
	rejected := outcome{Reject, ReasonReject}
	later := outcome{TempFail, ReasonUndecided}
	for _, tt := range []struct {
		why     string
		sealers []dns.Name
		p       dmarc.Policy
		change  change
		want    outcome
	}{
		{"the newest seal is by a trusted sealer", trusted, dmarc.PolicyReject, sealed(arc.Pass, good, "x.example", "lists.example"), accepted},
		{"the same under p=quarantine", trusted, dmarc.PolicyQuarantine, sealed(arc.Pass, good, "lists.example"), accepted},
		{"the same under p=none", trusted, dmarc.PolicyNone, sealed(arc.Pass, good, "lists.example"), outcome{Tag, ReasonNone}},
		{"only an older seal is by a trusted sealer", trusted, dmarc.PolicyReject, sealed(arc.Pass, good, "lists.example", "x.example"), rejected},
		{"a subdomain of a trusted sealer", trusted, dmarc.PolicyReject, sealed(arc.Pass, good, "x.lists.example"), rejected},
		{"the parent domain of a trusted sealer", trusted, dmarc.PolicyReject, sealed(arc.Pass, good, "example"), rejected},
		{"nobody is trusted", nil, dmarc.PolicyReject, sealed(arc.Pass, good, "lists.example"), rejected},
		{"no chain", trusted, dmarc.PolicyReject, sealed(arc.None, ""), rejected},
		{"a chain that fails", trusted, dmarc.PolicyReject, sealed(arc.Fail, good, "lists.example"), rejected},
		{"a chain that takes too much work", trusted, dmarc.PolicyReject, sealed(arc.NotEvaluated, good, "lists.example"), rejected},
		{"the sealer says fail", trusted, dmarc.PolicyReject, sealed(arc.Pass, bad, "lists.example"), rejected},
		{"a key of the chain did not come", trusted, dmarc.PolicyReject, all(sealed(arc.Fail, good, "lists.example"), chainFailed("dns_timeout")), later},
		{"the same, and the sealer says fail", trusted, dmarc.PolicyReject, all(sealed(arc.Fail, bad, "lists.example"), chainFailed("dns_timeout")), rejected},
		{"a key of another's chain did not come", trusted, dmarc.PolicyReject, all(sealed(arc.Fail, good, "x.example"), chainFailed("dns_timeout")), rejected},
		{"the record of a key is too large for any resolver", trusted, dmarc.PolicyReject,
			all(sealed(arc.Fail, good, "lists.example"), chainFailed("dns_too_large")), rejected},
		{"a bug in a signature of the chain", trusted, dmarc.PolicyReject, all(sealed(arc.Fail, good, "lists.example"), chainFailed(dkim.ReasonInternal)), later},
		{"a bug in ARC", trusted, dmarc.PolicyReject, panics(msgauth.ARC), outcome{TempFail, ReasonTempError}},
		{"a bug in ARC under p=quarantine", trusted, dmarc.PolicyQuarantine, panics(msgauth.ARC), outcome{TempFail, ReasonTempError}},
		{"a bug in ARC under p=none", trusted, dmarc.PolicyNone, panics(msgauth.ARC), outcome{Tag, ReasonNone}},
		{"a bug in ARC, and nobody is trusted", nil, dmarc.PolicyReject, panics(msgauth.ARC), rejected},
		{"a bug in SPF", trusted, dmarc.PolicyReject, panics(msgauth.SPF), rejected},
		{"a bug in ARC of a message that passes", trusted, dmarc.PolicyReject, all(panics(msgauth.ARC), result(dmarc.ResultPass)), outcome{Accept, ReasonAligned}},
	} {
		e := with(failing(tt.p), tt.change)
		v := Decide(&e, Config{TrustedSealers: tt.sealers})
		tt.want.check(t, tt.why, v)
		if says := slices.Contains(v.Evidence, "lists.example sealed it with dmarc=fail"); says != (tt.why == "the sealer says fail") {
			t.Errorf("%s: evidence %q", tt.why, v.Evidence)
		}
	}
}

// An outcome is what most tests compare of a verdict.
type outcome struct {
	action Action
	reason Reason
}

func (want outcome) check(t *testing.T, why string, v Verdict) {
	t.Helper()
	if got := (outcome{v.Action, v.Reason}); got != want {
		t.Errorf("%s: %v, want %v", why, got, want)
	}
}

// TestReportsFail checks which results of a sealer say that the message failed
// DMARC there.
func TestReportsFail(t *testing.T) {
	for results, want := range map[string]bool{
		"":                                 true, // does not parse, and does not say anything of DMARC
		" x; none":                         false,
		" x; dmarc=fail":                   true,
		" x; DMARC=Fail":                   true,
		" x; dmarc=pass":                   false,
		" x; dmarc=none":                   false,
		" x; spf=fail; dmarc=pass":         false, // another method
		" x; dmarc=pass; dmarc=fail":       true,  // any of them
		" x; spf=pass":                     false,
		" x; iprev=pass policy.iprev=::1":  true, // does not parse from here on
		" x; policy.iprev=::1; dmarc=pass": false,
		" x; policy.iprev=::1; d m a r c = f ail": true,
		" x; policy.iprev=::1; DMARC=FAIL":        true,
	} {
		if got := reportsFail(results); got != want {
			t.Errorf("%q: %t", results, got)
		}
	}
}

// TestNoPolicy checks, for a domain without a DMARC record, all combinations of
// an SPF result, two DKIM results and the configured actions:
//   - what a missing answer might have made pass is never rejected, and never
//     decided by policy.no_policy;
//   - what SPF or any signature authenticates is accepted, unless SPF says fail;
//   - a fail of SPF never makes the action milder than policy.no_policy, unless a
//     signature passes;
//   - the order of the signatures does not matter.
func TestNoPolicy(t *testing.T) {
	spfResults := []spf.Result{spf.None, spf.Neutral, spf.Pass, spf.Fail, spf.SoftFail, spf.TempError, spf.PermError}
	dkimResults := []dkim.Result{dkim.Pass, dkim.Fail, dkim.Neutral, dkim.TempError, dkim.PermError}
	for _, s := range spfResults {
		for _, first := range dkimResults {
			for _, second := range dkimResults {
				for _, noPolicy := range UnauthenticatedActions {
					for _, spfFail := range UnauthenticatedActions {
						e, turned := unpublished(s, first, second), unpublished(s, second, first)
						c := Config{NoPolicy: noPolicy, SPFFail: spfFail}
						v := Decide(&e, c)
						passes := s == spf.Pass || first == dkim.Pass || second == dkim.Pass
						open := s == spf.TempError || first == dkim.TempError || second == dkim.TempError
						var want outcome
						switch {
						case s == spf.Fail && passes:
							want = outcome{spfFail, ReasonSPFFail}
						case passes:
							want = outcome{Accept, ReasonPassNoPolicy}
						case s == spf.Fail && rank(spfFail) >= rank(noPolicy):
							want = outcome{spfFail, ReasonSPFFail}
						case open && noPolicy == Tag:
							want = outcome{Tag, ReasonTempError}
						case open:
							want = outcome{TempFail, ReasonTempError}
						default:
							want = outcome{noPolicy, ReasonNoPolicy}
						}
						name := fmt.Sprintf("spf=%s dkim=%s dkim=%s no_policy=%s spf_fail=%s", s, first, second, noPolicy, spfFail)
						want.check(t, name, v)
						want.check(t, name+" turned", Decide(&turned, c))
						if v.Disposition != dmarc.PolicyNone || v.Override != nil {
							t.Errorf("%s: a policy was applied: %+v", name, v)
						}
					}
				}
			}
		}
	}
}

// TestAlignment checks who counts as the author's own domain for a rule that
// gives a policy to an author without a DMARC record: with each result of SPF
// and DKIM, for each relation of the domains.
func TestAlignment(t *testing.T) {
	const author dns.Name = "news.bank.example"
	for _, domain := range []struct {
		name    dns.Name
		related bool
	}{
		{"news.bank.example", true}, {"a.b.news.bank.example", true}, {"bank.example", true},
		{"example", false}, {"shop.bank.example", false}, {"xnews.bank.example", false}, {"evil.example", false},
	} {
		for _, by := range []struct {
			name   string
			change change
			want   answer
		}{
			{"SPF pass", spfIs(spf.Pass, domain.name), yes},
			{"SPF fail", spfIs(spf.Fail, domain.name), no},
			{"SPF softfail", spfIs(spf.SoftFail, domain.name), no},
			{"SPF temperror", spfIs(spf.TempError, domain.name), unknown},
			{"SPF temperror for want of a slot", all(spfIs(spf.TempError, domain.name), noSlotForSPF), noSlot},
			{"DKIM pass", signed(dkim.Pass, domain.name), yes},
			{"DKIM fail", signed(dkim.Fail, domain.name), no},
			{"DKIM temperror", signedFor(dkim.TempError, domain.name, "dns_timeout"), unknown},
			{"DKIM temperror for want of a slot", signedFor(dkim.TempError, domain.name, "dns_budget"), noSlot},
			{"DKIM and SPF temperror", all(spfIs(spf.TempError, domain.name), signedFor(dkim.TempError, domain.name, "dns_budget")), noSlot},
			{"SPF temperror beside DKIM pass", all(spfIs(spf.TempError, domain.name), signed(dkim.Pass, domain.name)), yes},
			{"DKIM temperror before DKIM pass", all(signed(dkim.TempError, domain.name), signed(dkim.Pass, domain.name)), yes},
			{"DKIM pass before DKIM temperror", all(signed(dkim.Pass, domain.name), signed(dkim.TempError, domain.name)), yes},
		} {
			e := with(unpublished(spf.None), func(e *msgauth.Evaluation) { e.From.AuthorDomain = author })
			by.change(&e)
			want := by.want
			if !domain.related {
				want = no
			}
			if got := alignment(&e); got != want {
				t.Errorf("%s of %s: %d, want %d", by.name, domain.name, got, want)
			}
			v := Decide(&e, Config{Rules: []Rule{{ID: "r", When: Conditions{Author: []Pattern{Pattern(author)}}, Then: asPolicy(dmarc.PolicyReject)}}})
			if (v.Action == Reject) != (want == no) || (v.Action == TempFail) != want.open() {
				t.Errorf("%s of %s: %s for the answer %d", by.name, domain.name, v.Action, want)
			}
		}
	}
	for why, tt := range map[string]struct {
		change change
		want   answer
	}{
		"the whole of DKIM has no result":  {signedFor(dkim.TempError, "", dkim.ReasonInternal), unknown},
		"a signature that has no domain":   {signed(dkim.Fail, ""), no},
		"SPF of a client without a domain": {spfIs(spf.Pass, ""), no},
	} {
		e := with(unpublished(spf.None), tt.change)
		if got := alignment(&e); got != tt.want {
			t.Errorf("%s: %d, want %d", why, got, tt.want)
		}
	}
}

func noSlotForSPF(e *msgauth.Evaluation) { e.MailFrom.Reason = spf.ReasonDNSBudget }

// TestAsIf checks a rule that gives the policy reject, for each DMARC result.
func TestAsIf(t *testing.T) {
	all := Conditions{Client: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}
	for r, want := range map[dmarc.Result]outcome{
		dmarc.ResultPass:      {Accept, ReasonAligned},
		dmarc.ResultFail:      {Reject, ReasonReject},
		dmarc.ResultNone:      {Reject, ReasonReject},
		dmarc.ResultTempError: {TempFail, ReasonTempError},
		dmarc.ResultPermError: {Tag, ReasonNoPolicy},
	} {
		e := with(failing(dmarc.PolicyNone), result(r))
		want.check(t, string(r), Decide(&e, Config{Rules: []Rule{{ID: "r", When: all, Then: asPolicy(dmarc.PolicyReject)}}}))
	}
}

// TestAsIfWithoutChain checks the same rule for messages whose chain a bug kept from being validated, where a
// trusted sealer might have vouched: a message that passes stays accepted, and one that fails is put off.
func TestAsIfWithoutChain(t *testing.T) {
	everybody := Conditions{Client: networks("0.0.0.0/0")}
	for r, want := range map[dmarc.Result]outcome{
		dmarc.ResultPass:      {Accept, ReasonAligned},
		dmarc.ResultFail:      {TempFail, ReasonTempError},
		dmarc.ResultNone:      {TempFail, ReasonUndecided},
		dmarc.ResultTempError: {TempFail, ReasonTempError},
	} {
		e := with(failing(dmarc.PolicyNone), all(result(r), panics(msgauth.ARC)))
		c := Config{TrustedSealers: []dns.Name{"lists.example"}, Rules: []Rule{{ID: "r", When: everybody, Then: asPolicy(dmarc.PolicyReject)}}}
		want.check(t, string(r), Decide(&e, c))
	}
}

// TestOverrideTypeOfRules checks by which type of RFC 9990 a rule is reported.
func TestOverrideTypeOfRules(t *testing.T) {
	domains := []Pattern{"x.example"}
	traits := func(list ...trait.Trait) Conditions { return Conditions{Traits: list} }
	for _, tt := range []struct {
		why  string
		when Conditions
		then Outcome
		want OverrideType
	}{
		{"about lists", traits(trait.List), accept, OverrideMailingList},
		{"about signatures of lists", traits(trait.ListSignature), tag, OverrideMailingList},
		{"about lists among others", traits(trait.Bulk, trait.List), quarantine, OverrideMailingList},
		{"a list before a forwarder", Conditions{ClientName: domains, Traits: []trait.Trait{trait.List}}, accept, OverrideMailingList},
		{"about a sealer", Conditions{ARCSealer: domains}, accept, OverrideTrustedForwarder},
		{"about a host", Conditions{ClientName: domains}, asPolicy(dmarc.PolicyNone), OverrideTrustedForwarder},
		{"about forwarded mail", traits(trait.Forwarded), accept, OverrideTrustedForwarder},
		{"about rewritten senders", traits(trait.SRS), accept, OverrideTrustedForwarder},
		{"about chains", traits(trait.ARC), accept, OverrideTrustedForwarder},
		{"about a host, but refused", Conditions{ClientName: domains}, reject, OverrideLocalPolicy},
		{"about lists, but as if reject", traits(trait.List), asPolicy(dmarc.PolicyReject), OverrideLocalPolicy},
		{"about the author", Conditions{Author: domains, DKIM: domains, SPF: domains, Traits: []trait.Trait{trait.Bulk}}, accept, OverrideLocalPolicy},
	} {
		if got := (&Rule{When: tt.when, Then: tt.then}).overrideType(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
	}
}

// TestAuthorless checks which rules apply to a message without a single author.
func TestAuthorless(t *testing.T) {
	for _, tt := range []struct {
		invalid Action
		then    Outcome
		want    outcome
	}{
		{Reject, accept, outcome{Reject, ReasonInvalidFrom}},
		{Reject, quarantine, outcome{Reject, ReasonInvalidFrom}},
		{Reject, reject, outcome{Reject, ReasonRule}}, // as harsh is enough
		{Quarantine, tag, outcome{Quarantine, ReasonInvalidFrom}},
		{Quarantine, quarantine, outcome{Quarantine, ReasonRule}},
		{Quarantine, reject, outcome{Reject, ReasonRule}},
		{Tag, accept, outcome{Tag, ReasonInvalidFrom}},
		{Tag, asPolicy(dmarc.PolicyReject), outcome{Tag, ReasonInvalidFrom}}, // a policy is the author's
		{Tag, tag, outcome{Tag, ReasonRule}},
	} {
		for why, lost := range map[string]change{
			"no From field":    func(e *msgauth.Evaluation) { e.FromError = &author.Error{Kind: author.KindMissing} },
			"no author domain": func(e *msgauth.Evaluation) { e.From.AuthorDomain = "" },
		} {
			e := with(failing(dmarc.PolicyNone), all(lost, result(dmarc.ResultPermError)))
			c := Config{InvalidFrom: tt.invalid, Rules: []Rule{{ID: "r", When: Conditions{Client: networks("203.0.113.0/24")}, Then: tt.then}}}
			tt.want.check(t, fmt.Sprintf("%s, invalid_from: %s, a rule for %s", why, tt.invalid, tt.then), Decide(&e, c))
		}
	}
}

// TestAuthorlessIsNotPutOff checks that a message without a single author is refused for good, although a
// trusted sealer might vouch for it.
func TestAuthorlessIsNotPutOff(t *testing.T) {
	e := with(failing(dmarc.PolicyNone), all(result(dmarc.ResultPermError), sealed(arc.Fail, " x; none", "lists.example"), chainFailed("dns_timeout"),
		func(e *msgauth.Evaluation) { e.FromError = &author.Error{Kind: author.KindMultipleFields} }))
	outcome{Reject, ReasonInvalidFrom}.check(t, "no author", Decide(&e, Config{TrustedSealers: []dns.Name{"lists.example"}}))
}

// TestNothingIsLeftOfTheVerdict checks that a message that is refused for a
// fault of the MTA's setup is not reported as one to which a policy was applied.
func TestNothingIsLeftOfTheVerdict(t *testing.T) {
	for _, mode := range Modes {
		c := Config{Mode: mode, Reject: RejectQuarantine}
		e := failing(dmarc.PolicyReject)
		before := Decide(&e, c)
		if before.Disposition != dmarc.PolicyQuarantine || before.Override == nil {
			t.Fatalf("%+v", before)
		}
		for why, v := range map[string]Verdict{
			"unlabelled": Unlabelled(before, errors.New("no such action"), c),
			"forged":     Forged(before, "mx.example.jp", c),
		} {
			if v.Disposition != dmarc.PolicyNone || v.Override != nil || len(v.Evidence) != 1 {
				t.Errorf("%s in mode %s: %+v", why, mode, v)
			}
			if v.Enforced != (mode == Enforce) || (v.Reply.Code != 0) != v.Enforced {
				t.Errorf("%s in mode %s: reply %q", why, mode, v.Reply)
			}
		}
	}
}

// TestRank checks the order of the actions by their harshness.
func TestRank(t *testing.T) {
	mildest := []Action{Accept, Tag, Quarantine, Reject}
	if !slices.IsSortedFunc(mildest, func(a, b Action) int { return rank(a) - rank(b) }) || rank(Accept) == rank(Tag) ||
		rank(Tag) == rank(Quarantine) || rank(Quarantine) == rank(Reject) || rank(TempFail) != rank(Accept) || rank(Skip) != rank(Accept) {
		t.Error("the order is wrong")
	}
}

// TestHandedOn checks who vouches for having handed a message on that lacks the usual signature of its author.
// Only then does the missing signature not outweigh the sign of a list.
func TestHandedOn(t *testing.T) {
	scope := func(e *msgauth.Evaluation) {
		e.From.AuthorDomain, e.DMARC.AuthorDomain, e.DMARC.OrganizationalDomain = "news.bank.example", "news.bank.example", "bank.example"
	}
	show := func(t trait.Trait) change { return func(e *msgauth.Evaluation) { e.Traits.Add(t) } }
	for _, tt := range []struct {
		why    string
		change change
		want   bool
	}{
		{"nobody", scope, false},
		{"a third party's signature", show(trait.ThirdPartySignature), true},
		{"a list's signature", show(trait.ListSignature), true},
		{"a chain", sealed(arc.Pass, "", "x.example"), true},
		{"a chain that fails", sealed(arc.Fail, "", "x.example"), false},
		{"SPF of another domain", spfIs(spf.Pass, "lists.example"), true},
		{"SPF of another domain fails", spfIs(spf.Fail, "lists.example"), false},
		{"SPF of another domain is not known", spfIs(spf.TempError, "lists.example"), false},
		{"SPF of the author", all(scope, spfIs(spf.Pass, "news.bank.example")), false},
		{"SPF of the author's organization", all(scope, spfIs(spf.Pass, "shop.bank.example")), false},
		{"a network of the author", show(trait.KnownSource), true}, // not handed on, but the author's own mail
		{"a bulk sender", show(trait.Bulk), false},
	} {
		e := with(failing(dmarc.PolicyReject), all(tt.change, show(trait.UnsignedUnlikeUsual), show(trait.List)))
		if v := Decide(&e, Config{Learned: LearnedUse}); (v.Action == Quarantine) != tt.want {
			t.Errorf("%s: %s", tt.why, v.Action)
		}
	}
}

// TestLearnedEffect checks what the learned signs of a message change, or would.
func TestLearnedEffect(t *testing.T) {
	for _, tt := range []struct {
		why   string
		signs []trait.Trait
		want  int
	}{
		{"none", []trait.Trait{trait.List}, 0},
		{"a network that is usual", []trait.Trait{trait.KnownSource}, -1},
		{"an unusual lack of a signature", []trait.Trait{trait.List, trait.UnsignedUnlikeUsual}, 1},
		{"an unusual network alone", []trait.Trait{trait.List, trait.UnknownSource}, 0},
	} {
		for _, rule := range LearnedRules {
			e := failing(dmarc.PolicyReject)
			e.Traits.Add(tt.signs...)
			if got := LearnedEffect(&e, Config{Learned: rule}); got != tt.want {
				t.Errorf("%s, learned: %s: %d, want %d", tt.why, rule, got, tt.want)
			}
		}
	}
}

// TestIDStays checks that a message has the ID that it had under earlier versions: a sender may quote it after
// an upgrade.
func TestIDStays(t *testing.T) {
	e := failing(dmarc.PolicyReject)
	e.Envelope = msgauth.Envelope{QueueID: "4Q", MailFrom: "<a@evil.example>"}
	e.Session.HELO = "h.example"
	e.DKIM = []dkim.Signature{{B: "AAAA"}, {B: "BBBB"}}
	if got := explanationID(&e); got != "4I1ML3RO" {
		t.Error(got)
	}
}
