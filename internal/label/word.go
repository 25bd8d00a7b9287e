package label

import (
	"slices"

	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// VerdictField is the name of the field that holds one of Words, for mail clients and Sieve
// scripts. Fields of that name from outside are deleted, even if we write no such field.
const VerdictField = "X-Sekimori-Verdict"

// The words that VerdictField can hold. In the comments below, "fails" means that the DMARC
// result is fail, and "its domain" is the author's domain. The words must not change,
// because users' filters compare them.
const (
	WordPass            = "pass"               // the DMARC result is pass
	WordForwarder       = "pass-forwarder"     // fails, but is accepted because a trusted forwarder sealed it (ARC) and did not report dmarc=fail
	WordFailAccepted    = "fail-accepted"      // fails, but the operator's policy is milder than the policy of its domain
	WordFailRamp        = "fail-ramp"          // fails; policy.ramp made the verdict quarantine one step milder, so the message is only tagged
	WordFailNone        = "fail-none"          // fails, but its domain asks for no action (p=none, or p=quarantine with t=y)
	WordFailQuarantine  = "fail-quarantine"    // fails, and is quarantined: held by the MTA, or only marked by this field
	WordFailMonitor     = "fail-monitor"       // fails, and would be quarantined or refused if the mode were not monitor
	WordFailOptedOut    = "fail-opted-out"     // fails, and would be quarantined or refused if no recipient had opted out
	WordNoPolicy        = "no-policy"          // no DMARC record; neither SPF nor DKIM passes
	WordNoPolicyPass    = "no-policy-pass"     // no DMARC record; SPF or a DKIM signature passes, for any domain
	WordNoPolicySPFFail = "no-policy-spf-fail" // no DMARC record; the result of SPF is fail
	WordTempError       = "temperror"          // a needed DNS answer is missing, so DMARC is neither pass nor fail
	WordInvalidFrom     = "invalid-from"       // From is missing or invalid, or has authors of several domains
	WordQuarantine      = "local-quarantine"   // does not fail DMARC, but the operator's policy quarantines it
)

// Words lists every word of VerdictField.
var Words = []string{
	WordPass, WordForwarder, WordFailAccepted, WordFailRamp, WordFailNone, WordFailQuarantine, WordFailMonitor, WordFailOptedOut,
	WordNoPolicy, WordNoPolicyPass, WordNoPolicySPFFail, WordTempError, WordInvalidFrom, WordQuarantine,
}

// Word returns the word of VerdictField for a message that is delivered.
func Word(e *msgauth.Evaluation, v policy.Verdict) string {
	fails := e.DMARC.Result == dmarc.ResultFail && e.FromError == nil
	severe := func(a policy.Action) bool {
		// TempFail is severe if the message is deferred only because a rule could not be
		// decided.
		return a == policy.Quarantine || a == policy.Reject || a == policy.TempFail && v.Reason == policy.ReasonUndecided
	}
	harsh := severe(v.Action)
	switch {
	case fails && severe(v.Would):
		return WordFailOptedOut
	case fails && harsh && v.Enforced:
		return WordFailQuarantine
	case fails && harsh:
		return WordFailMonitor
	case harsh && v.Enforced:
		return WordQuarantine
	case e.FromError != nil || e.From.AuthorDomain == "":
		return WordInvalidFrom
	case v.Reason == policy.ReasonTempError || e.DMARC.Result == dmarc.ResultTempError:
		return WordTempError
	case e.DMARC.Result == dmarc.ResultPass:
		return WordPass
	case fails:
		return mildFail(e, v)
	}
	return noPolicy(v)
}

// mildFail returns the word for a message that fails, and that is neither quarantined nor
// refused in any mode.
func mildFail(e *msgauth.Evaluation, v policy.Verdict) string {
	switch {
	case v.Reason == policy.ReasonForwarder:
		return WordForwarder
	case v.Relaxed:
		return WordFailRamp
	case v.Action == policy.Accept || e.DMARC.Disposition != dmarc.PolicyNone:
		return WordFailAccepted
	}
	return WordFailNone
}

func noPolicy(v policy.Verdict) string {
	switch v.Reason {
	case policy.ReasonPassNoPolicy:
		return WordNoPolicyPass
	case policy.ReasonSPFFail:
		return WordNoPolicySPFFail
	}
	return WordNoPolicy
}

// stamped lists the words that get a message the Subject stamp. In monitor mode, or if a
// recipient opted out, there is no stamp, because a stamp changes the message.
var stamped = []string{WordFailNone, WordFailRamp, WordFailQuarantine, WordQuarantine, WordInvalidFrom}

// getsStamp reports whether the Subject is stamped. If a message is not decided because an
// answer is missing, it is stamped only if a policy of its author's domain is known.
// Otherwise all mail would be stamped while DNS does not answer.
func getsStamp(word string, e *msgauth.Evaluation, v policy.Verdict) bool {
	policyKnown := e.DMARC.Enforcing != "" || e.DMARC.Disposition != ""
	return slices.Contains(stamped, word) || word == WordTempError && v.Action == policy.Tag && policyKnown
}
