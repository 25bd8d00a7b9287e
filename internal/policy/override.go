package policy

import (
	"fmt"
	"slices"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// override applies the first rule that matches. A rule is open if it is not
// known whether it matches. If the result is a rejection, but an open rule
// might have been milder, the message is not rejected (see undecided). Only the
// open rules before the matching rule count, or all open rules if no rule
// matches. A trusted sealer that might have vouched for the message counts as
// an open rule. A rejection by policy.invalid_from stays as it is.
func (v *Verdict) override(e *msgauth.Evaluation, c Config) {
	hit, left := v.firstRule(e, c)
	if hit != nil {
		v.apply(hit, e, c)
	}
	if v.Action == Reject {
		left.add("arc.trusted_sealers", sealKnown(e, c))
	}
	if left.rule != "" && v.Action == Reject && v.Reason != ReasonInvalidFrom {
		v.undecided(left, e, c)
	}
}

// openRules collects the rules that are open and would not reject the message.
type openRules struct {
	rule   string // the id of the first open rule, or arc.trusted_sealers; "" if there is none
	noSlot bool   // at least one rule is open because all our lookup slots were in use
}

func (o *openRules) add(rule string, a answer) {
	if a.open() && o.rule == "" {
		o.rule = rule
	}
	o.noSlot = o.noSlot || a == noSlot
}

// firstRule returns the first rule that matches, or nil. `left` has the rules
// before it that are open and would not reject.
func (v *Verdict) firstRule(e *msgauth.Evaluation, c Config) (hit *Rule, left openRules) {
	author := hasAuthor(e)
	var room [32]int32 // on the stack; most messages have few candidates
	for _, i := range c.index.candidates(e, len(c.Rules), room[:0]) {
		r := &c.Rules[i]
		switch {
		case !r.Expires.IsZero() && !e.Time.Before(r.Expires):
			continue
		case !author && (r.Then.Policy != "" || rank(r.Then.Action) < rank(v.Action)):
			// Without a single author, mail clients may show different people
			// as the author. The rule applies only if its outcome is an action,
			// and if this action is not milder than the verdict without rules
			// (usually that of policy.invalid_from).
			continue
		}
		switch a := r.When.match(e); {
		case a == yes:
			return r, left
		case r.Then.rank() < rank(Reject):
			left.add(r.ID, a)
		}
	}
	return nil, left
}

// apply replaces the verdict by the verdict that the rule leads to.
func (v *Verdict) apply(r *Rule, e *msgauth.Evaluation, c Config) {
	before := *v
	if r.Then.Policy != "" {
		*v = asIf(*v, r.Then.Policy, e, c)
	} else {
		v.Action, v.Reason, v.Disposition, v.Reply, v.Override = r.Then.Action, ReasonRule, dispositionOf(r.Then.Action), smtp.Reply{}, nil
		if v.Action == Reject {
			v.Reply = smtp.New(smtp.CodeRefused, smtp.EnhancedRefused, "Email rejected per local policy ("+v.ID+")")
		}
	}
	v.Rule = r.ID
	asked := dmarc.PolicyNone
	if e.DMARC.Result == dmarc.ResultFail {
		asked = e.DMARC.Disposition
	}
	if v.Action != before.Action || v.Disposition != asked {
		v.note(r.overrideType(), "rule "+r.ID)
	}
}

// note records a deviation from the published policy. If there already is an
// override, note keeps its type and appends the comment.
func (v *Verdict) note(t OverrideType, comment string) {
	if v.Override != nil {
		t, comment = v.Override.Type, v.Override.Comment+", "+comment
	}
	v.Override = &Override{Type: t, Comment: comment}
}

// overrideType returns the override type of RFC 9990 that fits the rule's
// outcome and conditions best.
func (r *Rule) overrideType() OverrideType {
	about := func(traits ...trait.Trait) bool {
		return slices.ContainsFunc(traits, func(t trait.Trait) bool { return slices.Contains(r.When.Traits, t) })
	}
	switch {
	case r.Then.rank() == rank(Reject):
		return OverrideLocalPolicy
	case about(trait.List, trait.ListSignature):
		return OverrideMailingList
	case len(r.When.ARCSealer) > 0, len(r.When.ClientName) > 0, about(trait.Forwarded, trait.SRS, trait.ARC):
		return OverrideTrustedForwarder
	}
	return OverrideLocalPolicy
}

// dispositionOf returns the disposition for a DMARC report if a rule leads to
// this action.
func dispositionOf(a Action) dmarc.Policy {
	switch a {
	case Reject:
		return dmarc.PolicyReject
	case Quarantine:
		return dmarc.PolicyQuarantine
	}
	return dmarc.PolicyNone
}

// asIf returns the verdict that would follow if p were the published policy. v
// is the verdict before the rule. asIf returns v unchanged in two cases: the
// message passes DMARC, or the author has no DMARC record but SPF or DKIM
// authenticated the author's domain (see alignment).
func asIf(v Verdict, p dmarc.Policy, e *msgauth.Evaluation, c Config) Verdict {
	out := Verdict{Disposition: dmarc.PolicyNone, Enforced: v.Enforced, ID: v.ID}
	related := no
	if e.DMARC.Result == dmarc.ResultNone {
		related = alignment(e)
	}
	switch {
	case e.DMARC.Result == dmarc.ResultTempError, related.open(), lostSeal(e, c, p):
		out.tempError(e, c, p.Enforces())
		return out
	case related == yes, e.DMARC.Result != dmarc.ResultFail && e.DMARC.Result != dmarc.ResultNone:
		return v
	}
	pretended := *e
	pretended.DMARC.Result, pretended.DMARC.Testing = dmarc.ResultFail, false
	pretended.DMARC.PolicyPublished, pretended.DMARC.Disposition = p, p
	out.fail(&pretended, c)
	if out.Action == Reject {
		out.Reply = smtp.New(smtp.CodeRefused, smtp.EnhancedRefused,
			fmt.Sprintf("Email rejected per local policy for %s (%s)", e.From.AuthorDomain, v.ID))
	}
	return out
}

// alignment says whether SPF or DKIM authenticated the author's domain, for a
// message whose author has no DMARC record. The author's domain itself counts,
// and so do domains above and below it. A sibling domain (with the same parent)
// does not count, because it may have another owner.
func alignment(e *msgauth.Evaluation) answer {
	related := func(d dns.Name) bool {
		return d != "" && (d.Under(e.From.AuthorDomain) || d.Labels() > 1 && e.From.AuthorDomain.Under(d))
	}
	best := no
	if related(e.MailFrom.Domain) {
		switch e.MailFrom.Result {
		case spf.Pass:
			return yes
		case spf.TempError:
			best = unsure(spfCause(e))
		}
	}
	for _, s := range e.DKIM {
		switch {
		case s.Result == dkim.Pass && related(s.Domain):
			return yes
		case s.Result == dkim.TempError && (s.Domain == "" || related(s.Domain)):
			best = either(best, unsure(keyCause(s.Reason)))
		}
	}
	return best
}

// sealKnown says whether one of the trusted sealers vouches for the message.
// The answer is open in the cases that vouched describes.
func sealKnown(e *msgauth.Evaluation, c Config) answer {
	if len(c.TrustedSealers) == 0 {
		return no
	}
	return vouched(e, func(d dns.Name) bool { return slices.Contains(c.TrustedSealers, d) })
}

// undecided replaces a reject by a temporary refusal. With "policy.temperror:
// accept" it quarantines the message instead, unless our lookup slots were in
// use. The message must not be accepted, because a spoofer can suppress DNS
// answers and can use up our lookup slots.
func (v *Verdict) undecided(left openRules, e *msgauth.Evaluation, c Config) {
	v.Evidence = append(v.Evidence, "a temporary failure leaves open whether "+left.rule+" matches")
	v.Reason, v.Override = ReasonUndecided, &Override{Type: OverrideLocalPolicy, Comment: "undecided: " + left.rule}
	v.Missing = missingForRules(e)
	if left.noSlot || c.TempError == TempFail {
		v.Action, v.Disposition = TempFail, dmarc.PolicyNone
		v.Reply = smtp.New(smtp.CodeLocalError, smtp.EnhancedKeyTempError, "Email cannot be judged now, try again later ("+v.ID+")")
		return
	}
	if v.Disposition == dmarc.PolicyReject {
		v.Disposition = dmarc.PolicyQuarantine
	}
	v.Action, v.Reply = Quarantine, smtp.Reply{}
}
