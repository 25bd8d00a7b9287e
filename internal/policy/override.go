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

// override applies the first rule that matches. Where a milder one before it
// might have matched, had an answer come, nothing is rejected.
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

// openRules are rules that would not reject and that a missing answer leaves
// open.
type openRules struct {
	rule string // the first
	room bool   // one is open for want of our own room
}

func (o *openRules) add(rule string, a answer) {
	if a.open() && o.rule == "" {
		o.rule = rule
	}
	o.room = o.room || a == noRoom
}

// firstRule returns the rule that decides, nil if none does, and those before
// it that would not reject but could not be decided.
func (v *Verdict) firstRule(e *msgauth.Evaluation, c Config) (hit *Rule, left openRules) {
	author := hasAuthor(e)
	for i := range c.Rules {
		r := &c.Rules[i]
		switch {
		case !r.Expires.IsZero() && !e.Time.Before(r.Expires):
			continue
		case !author && (r.Then.Policy != "" || rank(r.Then.Action) < rank(v.Action)):
			// Nobody knows whom a reader takes for the author: policy.invalid_from
			// decides, and a rule can only be harsher.
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

// apply makes the verdict the rule's.
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

// note records a deviation, beside one that is there already.
func (v *Verdict) note(t OverrideType, comment string) {
	if v.Override != nil {
		t, comment = v.Override.Type, v.Override.Comment+", "+comment
	}
	v.Override = &Override{Type: t, Comment: comment}
}

// overrideType is RFC 9990's word for what the rule is about.
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

func dispositionOf(a Action) dmarc.Policy {
	switch a {
	case Reject:
		return dmarc.PolicyReject
	case Quarantine:
		return dmarc.PolicyQuarantine
	}
	return dmarc.PolicyNone
}

// asIf returns the verdict that the policy p, were it published, would have led
// to. It changes nothing for a message that passes.
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

// alignment says whether something of the author's domain authenticated where
// no DMARC record says how to compare: a domain above or below the author's
// counts, one beside it does not, because nothing says that they are one's.
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

// sealKnown is open where a key did not come which might have made a trusted
// sealer vouch for the message.
func sealKnown(e *msgauth.Evaluation, c Config) answer {
	if len(c.TrustedSealers) == 0 {
		return no
	}
	return vouched(e, func(d dns.Name) bool { return slices.Contains(c.TrustedSealers, d) })
}

// undecided takes back a reject: the message is asked to come again, or with
// policy.temperror: accept quarantined. It is never accepted, because a spoofer
// can keep answers away, and can use up our room.
func (v *Verdict) undecided(left openRules, e *msgauth.Evaluation, c Config) {
	v.Evidence = append(v.Evidence, "a temporary failure leaves open whether "+left.rule+" matches")
	v.Reason, v.Override = ReasonUndecided, &Override{Type: OverrideLocalPolicy, Comment: "undecided: " + left.rule}
	v.Missing = missingForRules(e)
	if left.room || c.TempError == TempFail {
		v.Action, v.Disposition = TempFail, dmarc.PolicyNone
		v.Reply = smtp.New(smtp.CodeLocalError, smtp.EnhancedKeyTempError, "Email cannot be judged now, try again later ("+v.ID+")")
		return
	}
	if v.Disposition == dmarc.PolicyReject {
		v.Disposition = dmarc.PolicyQuarantine
	}
	v.Action, v.Reply = Quarantine, smtp.Reply{}
}
