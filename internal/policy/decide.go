package policy

import (
	"fmt"
	"slices"
	"strings"

	"sekimori/internal/arc"
	"sekimori/internal/authres"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// Skipped returns the verdict on a message that is not evaluated.
func Skipped(reason Reason) Verdict {
	return Verdict{Action: Skip, Applied: Skip, Enforced: true, Reason: reason, Disposition: dmarc.PolicyNone}
}

// Oversized returns the verdict on a message that exceeds a limit. The daemon
// has read only a part of such a message. `what` names the limit.
func Oversized(what string, c Config) Verdict {
	c = c.withDefaults()
	v := Verdict{
		Action: Reject, Enforced: c.Mode == Enforce, Reason: ReasonOversize,
		Evidence: []string{"too large: " + what}, Disposition: dmarc.PolicyNone,
	}
	v.Reply = smtp.New(smtp.CodeTooBig, smtp.EnhancedTooBig, "Message header exceeds the limits of this system")
	v.settle(c)
	return v
}

// Forged returns the verdict on a message from outside that has a result in our
// name (see package label), if the MTA does not let us delete fields. id is our
// authserv-id. Mail clients would believe that the result is from us. A
// temporary refusal would not help, because the result would be there again on
// every retry, so the message is rejected. Monitor mode does not refuse it.
func Forged(v Verdict, id string, c Config) Verdict {
	v.Evidence = append(v.Evidence, "there is a result in our name, and the MTA does not let fields be deleted")
	v.Disposition, v.Override = dmarc.PolicyNone, nil
	v.Action, v.Reason = Reject, ReasonForged
	if v.Enforced {
		v.Applied = Reject
		text := "Email carries an authentication result in the name of " + id + ", which cannot be removed here"
		if v.ID != "" {
			text += " (" + v.ID + ")"
		}
		v.Reply = smtp.New(smtp.CodeRefused, smtp.EnhancedRefused, text).With(c.Help)
	}
	return v
}

// Flooded returns the verdict on a message that exceeds a limit, and in which
// too many fields would have to be deleted (see MaxForged in package label). No
// other verdict refuses a message even in monitor mode. If the message were
// delivered with these fields, the recipient could trust a forged result. If
// all these fields were deleted, a sender could keep the MTA busy.
func Flooded(v Verdict, c Config) Verdict {
	v.Evidence = append(v.Evidence, "too many results in our name to delete them")
	v.Action, v.Applied, v.Enforced = Reject, Reject, true
	v.Reply = smtp.New(smtp.CodeTooBig, smtp.EnhancedTooBig, "Message header exceeds the limits of this system").With(c.Help)
	return v
}

// Unlabelled returns the verdict on a message that cannot be labelled because
// the MTA does not let us add fields. The refusal is temporary, because the
// operator can correct the setup of the MTA before the client tries again.
func Unlabelled(v Verdict, err error, c Config) Verdict {
	v.Evidence = append(v.Evidence, err.Error())
	v.Disposition, v.Override = dmarc.PolicyNone, nil
	if !v.Enforced {
		v.Applied = Accept
	} else {
		v.Action, v.Applied, v.Reason = TempFail, TempFail, ReasonUnlabelled
		v.Reply = smtp.New(smtp.CodeLocalError, smtp.EnhancedSystem, "Email cannot be labelled here now ("+v.ID+")").With(c.Help)
	}
	return v
}

// Decide returns the verdict on the message. It first decides by the facts.
// Then the operator's rules can change the verdict, and last the ramp.
func Decide(e *msgauth.Evaluation, c Config) Verdict {
	c = c.withDefaults()
	v := byFacts(e, c)
	v.override(e, c)
	v.relax(e, c.Ramp)
	v.settle(c)
	return v
}

// byFacts returns the verdict before the operator's rules and the ramp.
func byFacts(e *msgauth.Evaluation, c Config) Verdict {
	v := Verdict{Disposition: dmarc.PolicyNone, Enforced: c.Mode == Enforce, ID: explanationID(e)}
	switch {
	case !hasAuthor(e):
		v.invalidFrom(e, c)
	case e.DMARC.Result == dmarc.ResultPass:
		v.pass(e)
	case e.DMARC.Result == dmarc.ResultTempError, lostSeal(e, c, e.DMARC.Disposition):
		v.tempError(e, c, enforced(&e.DMARC))
	case e.DMARC.Result == dmarc.ResultFail:
		v.fail(e, c)
	default:
		v.noPolicy(e, c)
	}
	return v
}

// settle sets Applied. It completes the reply, or removes it if the message is
// not refused.
func (v *Verdict) settle(c Config) {
	v.Applied = applied(*v, c)
	if v.Applied == Reject || v.Applied == TempFail {
		v.Reply = v.Reply.With(c.Help)
	} else {
		v.Reply = smtp.Reply{}
	}
}

// applied returns the action that is taken. It differs from v.Action in monitor
// mode, and if messages are quarantined by label only.
func applied(v Verdict, c Config) Action {
	switch v.Action {
	case Reject, TempFail, Quarantine:
		if !v.Enforced || (v.Action == Quarantine && c.Quarantine == QuarantineTag) {
			return Tag
		}
	}
	return v.Action
}

// fail decides on a message that fails DMARC.
func (v *Verdict) fail(e *msgauth.Evaluation, c Config) {
	v.Spoofing, v.Indirect = evidence(e, c)
	if c.Learned != LearnedOff {
		v.Learned = shown(e, trait.Learned())
	}
	if e.DMARC.Testing && e.DMARC.PolicyPublished != e.DMARC.Disposition {
		v.Override = &Override{Type: OverrideTestMode, Comment: "t=y"} // RFC 9989 §4.7
	}
	switch {
	case e.DMARC.Disposition.Enforces() && v.sealed(e, c):
	case e.DMARC.Disposition == dmarc.PolicyReject:
		v.failReject(e, c)
	case e.DMARC.Disposition == dmarc.PolicyQuarantine:
		v.Action, v.Reason, v.Disposition = Quarantine, ReasonQuarantine, dmarc.PolicyQuarantine
	default:
		// RFC 9989 §5.4: p=none must not change the handling.
		v.Action, v.Reason = Tag, ReasonNone
	}
}

// sealed accepts a failing message if a trusted sealer vouches for it (see
// vouched), and reports whether it did so.
func (v *Verdict) sealed(e *msgauth.Evaluation, c Config) bool {
	newest, _ := newestSet(e) // a chain that passes has a set
	if e.ARC.Status != arc.Pass || !slices.Contains(c.TrustedSealers, newest.Sealer) {
		return false
	}
	if vouched(e, func(dns.Name) bool { return true }) != yes {
		v.Evidence = append(v.Evidence, fmt.Sprintf("%s sealed it with dmarc=fail", newest.Sealer))
		return false
	}
	v.Action, v.Reason = Accept, ReasonForwarder
	v.Override = &Override{Type: OverrideTrustedForwarder, Comment: fmt.Sprintf("valid ARC chain, newest seal by %s", newest.Sealer)}
	return true
}

// lostSeal reports whether a bug of ours may have hidden that a trusted sealer
// vouches for a failing message. That is so if a panic in ARC left the chain
// unvalidated, there are trusted sealers, and policy p is quarantine or reject.
func lostSeal(e *msgauth.Evaluation, c Config, p dmarc.Policy) bool {
	return e.DMARC.Result == dmarc.ResultFail && p.Enforces() && len(c.TrustedSealers) > 0 && panicked(e, msgauth.ARC)
}

// reportsFail reports whether a sealer's results say dmarc=fail. If the results
// do not parse, their text is searched without its white space. reportsFail
// then returns true if the text contains "dmarc=fail", or if it does not
// contain "dmarc=".
func reportsFail(results string) bool {
	f, err := authres.Parse(results)
	if err != nil {
		squeezed := strings.ToLower(strings.Join(strings.Fields(results), ""))
		return strings.Contains(squeezed, "dmarc=fail") || !strings.Contains(squeezed, "dmarc=")
	}
	return slices.ContainsFunc(f.Results, func(r authres.Result) bool {
		return strings.EqualFold(r.Method, "dmarc") && strings.EqualFold(r.Value, string(dmarc.ResultFail))
	})
}

// failReject decides on a failing message under p=reject. RFC 9989 §7.4 forbids
// rejecting a message solely because of p=reject. The table in
// testdata/decisions.md lists every case; deploy/docs/policy.md has the same
// table.
func (v *Verdict) failReject(e *msgauth.Evaluation, c Config) {
	switch {
	case c.Reject == RejectQuarantine:
		v.Action, v.Reason, v.Disposition = Quarantine, ReasonLocalReject, dmarc.PolicyQuarantine
		v.Override = &Override{Type: OverrideLocalPolicy, Comment: "p=reject is quarantined here"}
	case c.Reject == RejectCorroborated && len(v.Indirect) > 0 && !isSpoof(e, v.Spoofing):
		v.Action, v.Reason, v.Disposition = Quarantine, ReasonIndirect, dmarc.PolicyQuarantine
		v.Override = &Override{Type: OverrideLocalPolicy, Comment: indirectComment(v.Indirect)}
		if e.Has(trait.List) {
			v.Override.Type = OverrideMailingList
		}
	default:
		v.Action, v.Reason, v.Disposition = Reject, ReasonReject, dmarc.PolicyReject
		v.Reply = smtp.New(smtp.CodeRefused, smtp.EnhancedRefused,
			fmt.Sprintf("Email rejected per DMARC policy for %s (%s)", e.From.AuthorDomain, v.ID))
	}
}

// noPolicy decides on a message to which no DMARC record applies. It decides by
// the SPF and DKIM results, policy.spf_fail and policy.no_policy.
func (v *Verdict) noPolicy(e *msgauth.Evaluation, c Config) {
	passes, unsure := e.MailFrom.Result == spf.Pass, e.MailFrom.Result == spf.TempError
	for _, s := range e.DKIM {
		passes = passes || s.Result == dkim.Pass
		unsure = unsure || s.Result == dkim.TempError
	}
	spfFail := e.MailFrom.Result == spf.Fail
	switch {
	case spfFail && (passes || rank(c.SPFFail) >= rank(c.NoPolicy)):
		v.Action, v.Reason = c.SPFFail, ReasonSPFFail
		v.Reply = smtp.New(smtp.CodeRefused, smtp.EnhancedSPFFail,
			fmt.Sprintf("SPF of %s does not permit %s (%s)", e.MailFrom.Domain, e.Session.Client, v.ID))
	case passes:
		v.Action, v.Reason = Accept, ReasonPassNoPolicy
	case unsure:
		v.tempError(e, c, c.NoPolicy != Tag) // if the missing answer were a fail, policy.no_policy would apply
	default:
		v.Action, v.Reason = c.NoPolicy, ReasonNoPolicy
		if v.Action == Reject && e.Session.Unknown() {
			v.Action = Quarantine // SPF could not pass, because the client's address is not known
		}
		v.Reply = smtp.New(smtp.CodeRefused, smtp.EnhancedMultiple,
			fmt.Sprintf("Email from %s has no DMARC policy and does not authenticate (%s)", e.From.AuthorDomain, v.ID))
	}
}

// rank returns a greater number for a harsher action of Accept, Tag, Quarantine
// and Reject. TempFail and Skip have the rank of Accept.
func rank(a Action) int {
	switch a {
	case Reject:
		return 3
	case Quarantine:
		return 2
	case Tag:
		return 1
	}
	return 0
}
