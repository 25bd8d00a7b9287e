package label

import (
	"slices"

	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// VerdictField holds one of the Words, for mail clients and Sieve. One that
// comes from outside is deleted, whether we write it or not.
const VerdictField = "X-Sekimori-Verdict"

// The words of VerdictField. They are stable: filters of users compare them.
const (
	WordPass            = "pass"               // DMARC pass
	WordForwarder       = "pass-forwarder"     // fails, but a trusted forwarder vouches for it
	WordFailAccepted    = "fail-accepted"      // fails, but a rule of the operator is milder than its domain asks
	WordFailRamp        = "fail-ramp"          // fails, and would be quarantined but for the ramp
	WordFailNone        = "fail-none"          // fails, and its domain asks for nothing (p=none, t=y)
	WordFailQuarantine  = "fail-quarantine"    // fails, and is quarantined: held, or by this field
	WordFailMonitor     = "fail-monitor"       // fails, and would be quarantined or refused but for monitor mode
	WordFailOptedOut    = "fail-opted-out"     // fails, and would be but for a recipient who opted out
	WordNoPolicy        = "no-policy"          // no DMARC record, and nothing passes
	WordNoPolicyPass    = "no-policy-pass"     // no DMARC record; SPF or DKIM passes
	WordNoPolicySPFFail = "no-policy-spf-fail" // no DMARC record, and SPF says fail
	WordTempError       = "temperror"          // a needed answer is missing: it is not decided, which is no pass
	WordInvalidFrom     = "invalid-from"       // no single author can be named
	WordQuarantine      = "local-quarantine"   // quarantined by the operator's policy, without a DMARC fail
)

// Words lists every word.
var Words = []string{
	WordPass, WordForwarder, WordFailAccepted, WordFailRamp, WordFailNone, WordFailQuarantine, WordFailMonitor, WordFailOptedOut,
	WordNoPolicy, WordNoPolicyPass, WordNoPolicySPFFail, WordTempError, WordInvalidFrom, WordQuarantine,
}

// Word returns the word for a message that lives on.
func Word(e *msgauth.Evaluation, v policy.Verdict) string {
	fails := e.DMARC.Result == dmarc.ResultFail && e.FromError == nil
	severe := func(a policy.Action) bool {
		// A fail is one also where only a rule is open, and the message is put off.
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

// mildFail: it fails, and nothing is done nor would be.
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

// stamped are the words that get the Subject stamp. A stamp is something done
// to the message: not in monitor mode, nor where somebody opted out.
var stamped = []string{WordFailNone, WordFailRamp, WordFailQuarantine, WordQuarantine, WordInvalidFrom}

// getsStamp: a message that is not decided gets the stamp that it would get if
// it failed, where a policy of the author is known. Where none is, it would get
// none, and the stamp would stand on all mail while DNS is down.
func getsStamp(word string, e *msgauth.Evaluation, v policy.Verdict) bool {
	return slices.Contains(stamped, word) || word == WordTempError && v.Action == policy.Tag && (e.DMARC.Enforcing != "" || e.DMARC.Disposition != "")
}
