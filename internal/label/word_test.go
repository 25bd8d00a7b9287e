package label

import (
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// judged returns an evaluation with the given DMARC result and policy.
func judged(result dmarc.Result, p dmarc.Policy) *msgauth.Evaluation {
	return &msgauth.Evaluation{
		From:  author.From{AuthorDomain: "bank.example"},
		DMARC: dmarc.Evaluation{Result: result, PolicyPublished: p, Disposition: p},
	}
}

// TestUndecidedStamp checks which messages that are not decided get the Subject stamp.
func TestUndecidedStamp(t *testing.T) {
	undecided := func(enforcing dmarc.Policy) *msgauth.Evaluation {
		e := judged(dmarc.ResultTempError, "")
		e.DMARC.Enforcing = enforcing
		return e
	}
	tag := policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonTempError}
	for _, tt := range []struct {
		reason string
		e      *msgauth.Evaluation
		v      policy.Verdict
		want   bool
	}{
		{"p=none, of which a fail is stamped", undecided(dmarc.PolicyNone), tag, true},
		{"an enforcing policy, accepted by choice", undecided(dmarc.PolicyReject), tag, true},
		{"nothing is known: no stamp on all mail while DNS is down", undecided(""), tag, false},
		{"no record, of which nothing is stamped", judged(dmarc.ResultNone, ""), tag, false},
		{"the author's own domain passes", undecided(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonTempError},
			false},
		{"a pass", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonAligned}, false},
		{"a rule tags a fail", judged(dmarc.ResultFail, dmarc.PolicyReject), policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonRule}, false},
		{"a rule tags a pass", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonRule}, false},
		{"a fail", judged(dmarc.ResultFail, dmarc.PolicyNone), policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonNone}, true},
	} {
		if got := getsStamp(Word(tt.e, tt.v), tt.e, tt.v); got != tt.want {
			t.Errorf("%s: %t", tt.reason, got)
		}
	}
}

func TestWord(t *testing.T) {
	fail := func(p dmarc.Policy) *msgauth.Evaluation { return judged(dmarc.ResultFail, p) }
	none := judged(dmarc.ResultNone, "")
	noAuthor := &msgauth.Evaluation{FromError: &author.Error{Kind: author.KindMissing}}
	failsWithoutAuthor := fail(dmarc.PolicyReject)
	failsWithoutAuthor.FromError = noAuthor.FromError
	seen := map[string]bool{}
	for _, tt := range []struct {
		reason string
		e      *msgauth.Evaluation
		v      policy.Verdict
		want   string
	}{
		{"pass", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonAligned}, "pass"},
		{"a trusted forwarder's seal is accepted", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonForwarder},
			"pass-forwarder"},
		{"a rule accepts", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: "override"}, "fail-accepted"},
		{"a rule accepts what asks for nothing", fail(dmarc.PolicyNone), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonRule}, "fail-accepted"},
		{"a rule tags what should be refused", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Tag, Enforced: true, Reason: "override"}, "fail-accepted"},
		{"spared by the ramp", fail(dmarc.PolicyQuarantine), policy.Verdict{Action: policy.Tag, Relaxed: true, Enforced: true, Reason: policy.ReasonRamp},
			"fail-ramp"},
		{"a reject made a quarantine by the ramp", fail(dmarc.PolicyReject),
			policy.Verdict{Action: policy.Quarantine, Relaxed: true, Enforced: true, Reason: policy.ReasonRamp}, "fail-quarantine"},
		{"p=none", fail(dmarc.PolicyNone), policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonNone}, "fail-none"},
		{"p=none in monitor mode", fail(dmarc.PolicyNone), policy.Verdict{Action: policy.Tag, Reason: policy.ReasonNone}, "fail-none"},
		{"p=quarantine", fail(dmarc.PolicyQuarantine), policy.Verdict{Action: policy.Quarantine, Enforced: true}, "fail-quarantine"},
		{"p=quarantine by header", fail(dmarc.PolicyQuarantine), policy.Verdict{Action: policy.Quarantine, Applied: policy.Tag, Enforced: true}, "fail-quarantine"},
		{"p=reject in monitor mode", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Reject, Applied: policy.Tag}, "fail-monitor"},
		{"opted out", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Tag, Would: policy.Reject, Enforced: true}, "fail-opted-out"},
		{"opted out of a deferral", judged(dmarc.ResultTempError, dmarc.PolicyReject),
			policy.Verdict{Action: policy.Accept, Would: policy.TempFail, Reason: policy.ReasonTempError, Enforced: true}, "temperror"},
		{"temperror", judged(dmarc.ResultTempError, dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonTempError},
			"temperror"},
		{"a seal that could not be read", fail(dmarc.PolicyReject), policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonTempError},
			"temperror"},
		{"a rule left open, in monitor mode", fail(dmarc.PolicyReject),
			policy.Verdict{Action: policy.TempFail, Applied: policy.Tag, Reason: policy.ReasonUndecided}, "fail-monitor"},
		{"a rule left open, opted out", fail(dmarc.PolicyReject),
			policy.Verdict{Action: policy.Accept, Would: policy.TempFail, Reason: policy.ReasonUndecided, Enforced: true}, "fail-opted-out"},
		{"no record", none, policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonNoPolicy}, "no-policy"},
		{"no record, SPF passes", none, policy.Verdict{Action: policy.Accept, Enforced: true, Reason: policy.ReasonPassNoPolicy}, "no-policy-pass"},
		{"no record, SPF fail", none, policy.Verdict{Action: policy.Tag, Enforced: true, Reason: policy.ReasonSPFFail}, "no-policy-spf-fail"},
		{"no record, quarantined", none, policy.Verdict{Action: policy.Quarantine, Enforced: true, Reason: policy.ReasonNoPolicy}, "local-quarantine"},
		{"no record, quarantined outside monitor mode", none, policy.Verdict{Action: policy.Quarantine, Reason: policy.ReasonNoPolicy}, "no-policy"},
		{"a pass that a rule quarantines", judged(dmarc.ResultPass, dmarc.PolicyReject), policy.Verdict{Action: policy.Quarantine, Enforced: true},
			"local-quarantine"},
		{"no author", noAuthor, policy.Verdict{Action: policy.Tag, Enforced: true}, "invalid-from"},
		{"a From without a domain", &msgauth.Evaluation{DMARC: dmarc.Evaluation{Result: dmarc.ResultPermError}}, policy.Verdict{Action: policy.Tag, Enforced: true}, "invalid-from"},
		{"authors of several domains", &msgauth.Evaluation{From: author.From{AuthorDomain: "bank.example"}, FromError: &author.Error{Kind: author.KindMissing}},
			policy.Verdict{Action: policy.Tag, Enforced: true}, "invalid-from"},
		{"a fail, although From is invalid", failsWithoutAuthor, policy.Verdict{Action: policy.Tag, Enforced: true}, "invalid-from"},
		{"no author, in monitor mode", noAuthor, policy.Verdict{Action: policy.Reject}, "invalid-from"},
		{"no author, opted out", noAuthor, policy.Verdict{Action: policy.Tag, Would: policy.Reject, Enforced: true}, "invalid-from"},
	} {
		got := Word(tt.e, tt.v)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.reason, got, tt.want)
		}
		seen[got] = true
	}
	for _, w := range Words {
		if !seen[w] {
			t.Errorf("no case has the word %s", w)
		}
	}
	if len(seen) != len(Words) {
		t.Errorf("words %v, listed %v", seen, Words)
	}
}
