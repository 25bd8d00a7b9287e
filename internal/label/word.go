package label

import (
	"slices"

	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// VerdictField is the name of the field that holds one of the Words, for mail clients
// and Sieve. Such a field from outside is always deleted, also where we write none.
const VerdictField = "X-Sekimori-Verdict"

// The words of VerdictField. They do not change, because users' filters compare them.
const (
	WordPass            = "pass"               // DMARC pass
	WordForwarder       = "pass-forwarder"     // fails, but a trusted forwarder vouches for the message
	WordFailAccepted    = "fail-accepted"      // fails, but a rule of the operator is milder than its domain asks
	WordFailRamp        = "fail-ramp"          // fails, and would be quarantined without the ramp
	WordFailNone        = "fail-none"          // fails, and its domain asks for nothing (p=none, t=y)
	WordFailQuarantine  = "fail-quarantine"    // fails, and is quarantined: held, or by this field
	WordFailMonitor     = "fail-monitor"       // fails, and would be quarantined or refused outside monitor mode
	WordFailOptedOut    = "fail-opted-out"     // fails, and would be if no recipient had opted out
	WordNoPolicy        = "no-policy"          // no DMARC record, and nothing passes
	WordNoPolicyPass    = "no-policy-pass"     // no DMARC record; SPF or DKIM passes
	WordNoPolicySPFFail = "no-policy-spf-fail" // no DMARC record, and SPF says fail
	WordTempError       = "temperror"          // a needed answer is missing: the message is not decided, and has not passed
	WordInvalidFrom     = "invalid-from"       // no single author can be named
	WordQuarantine      = "local-quarantine"   // quarantined by the operator's policy, without a DMARC fail
)

// Words lists every word.
var Words = []string{
	WordPass, WordForwarder, WordFailAccepted, WordFailRamp, WordFailNone, WordFailQuarantine, WordFailMonitor, WordFailOptedOut,
	WordNoPolicy, WordNoPolicyPass, WordNoPolicySPFFail, WordTempError, WordInvalidFrom, WordQuarantine,
}

// Word returns the word for a message that is delivered.
func Word(e *msgauth.Evaluation, v policy.Verdict) string {
	fails := e.DMARC.Result == dmarc.ResultFail && e.FromError == nil
	severe := func(a policy.Action) bool {
		// A message that fails, and is put off only because a rule is undecided, counts
		// as a fail too.
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

// mildFail returns the word for a message that fails and on which no verdict would act
// in any mode.
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

// stamped are the words with which a message gets the Subject stamp. A stamp acts on
// the message, so there is none in monitor mode and where a recipient opted out.
var stamped = []string{WordFailNone, WordFailRamp, WordFailQuarantine, WordQuarantine, WordInvalidFrom}

// getsStamp reports whether the Subject is stamped. A message that is not decided is
// treated like a fail if a policy of its author is known. If none is known, it gets no
// stamp: otherwise all mail would be stamped while DNS is down.
func getsStamp(word string, e *msgauth.Evaluation, v policy.Verdict) bool {
	policyKnown := e.DMARC.Enforcing != "" || e.DMARC.Disposition != ""
	return slices.Contains(stamped, word) || word == WordTempError && v.Action == policy.Tag && policyKnown
}
