package report

import (
	"sekimori/internal/dmarc"
	"sekimori/internal/policy"
)

// The comments on reasons. Everybody who publishes a DMARC record can read them, also who forges mail
// (§8). So they say nothing about the rules of this site, the share of mail on which policies are
// enforced, or what the recipients want. Monitor mode, the ramp and a recipient who opted out have the
// same comment.
const (
	commentTest        = "t=y"
	commentList        = "looks like mail of a mailing list"
	commentForwarder   = "came from a forwarder that is trusted here"
	commentIndirect    = "looks like indirect mail"
	commentSoftened    = "p=reject is treated as p=quarantine here"
	commentNotEnforced = "the policy was not enforced"
	commentNoAnswer    = "an answer from DNS was missing"
	commentUnlabelled  = "the result could not be acted on"
	commentLocal       = "local policy"
)

// localComments has the comments on local_policy, as far as they say more than commentLocal.
var localComments = map[policy.Reason]string{
	policy.ReasonIndirect:    commentIndirect,
	policy.ReasonLocalReject: commentSoftened,
	policy.ReasonRamp:        commentNotEnforced,
	policy.ReasonUndecided:   commentNoAnswer,
}

// reasons says why a message that did not pass got the disposition "done" instead of the published
// policy (§3.1.1.6). A missing answer is always a reason, because nobody knows what the answer would
// have been.
func reasons(d *dmarc.Evaluation, v *policy.Verdict, done Disposition) (all []Reason) {
	undecided := v.Reason == policy.ReasonTempError
	if d.Result == dmarc.ResultPass || done == Disposition(d.PolicyPublished) && !undecided {
		return nil
	}
	if d.Disposition != d.PolicyPublished { // only t=y makes them different
		all = append(all, Reason{string(policy.OverrideTestMode), commentTest})
	}
	if done == Disposition(d.Disposition) && !undecided {
		return all // t=y is the whole reason
	}
	switch {
	case undecided:
		return append(all, Reason{string(policy.OverrideOther), commentNoAnswer})
	case v.Applied == policy.Accept && v.Action != policy.Accept: // see policy.Unlabelled
		return append(all, Reason{string(policy.OverrideOther), commentUnlabelled})
	case !v.Enforced, v.Would != "":
		return append(all, Reason{string(policy.OverrideLocalPolicy), commentNotEnforced})
	}
	return append(all, overrides(v)...)
}

// overrides returns what the policy of this site did. If a message of a mailing list was first
// quarantined instead of rejected, and then the ramp made the verdict milder again, both are reasons.
func overrides(v *policy.Verdict) (all []Reason) {
	local := true
	if o := v.Override; o != nil {
		switch o.Type {
		case policy.OverrideMailingList:
			all, local = append(all, Reason{string(o.Type), commentList}), false
		case policy.OverrideTrustedForwarder:
			all, local = append(all, Reason{string(o.Type), commentForwarder}), false
		}
	}
	if local || v.Relaxed {
		comment, ok := localComments[v.Reason]
		if !ok {
			comment = commentLocal
		}
		all = append(all, Reason{string(policy.OverrideLocalPolicy), comment})
	}
	return all
}
