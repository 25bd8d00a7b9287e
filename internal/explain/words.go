package explain

import "sekimori/internal/policy"

// reasonText returns the reason in words. The words follow "because" in a sentence.
func reasonText(r policy.Reason) string {
	switch r {
	case policy.ReasonAligned:
		return "an identifier of the author's domain authenticated"
	case policy.ReasonOtherName:
		return "an identifier of the author's domain authenticated, but the display name is an address of another domain"
	case policy.ReasonReject:
		return "nothing of the author's domain authenticated and its policy is reject"
	case policy.ReasonIndirect:
		return "the policy is reject, but the message looks like indirect mail"
	case policy.ReasonLocalReject:
		return "the policy is reject, which is quarantined here"
	case policy.ReasonQuarantine:
		return "nothing of the author's domain authenticated and its policy is quarantine"
	case policy.ReasonForwarder:
		return "nothing of the author's domain authenticated, but a trusted forwarder vouches for the message"
	case policy.ReasonNone:
		return "nothing of the author's domain authenticated, but its policy asks for nothing"
	case policy.ReasonNoPolicy:
		return "the author's domain has no DMARC policy and nothing authenticated"
	case policy.ReasonPassNoPolicy:
		return "the author's domain has no DMARC policy and something authenticated"
	case policy.ReasonSPFFail:
		return "the author's domain has no DMARC policy and SPF says fail"
	case policy.ReasonTempError:
		return "it is not decided: an answer that was needed did not come"
	case policy.ReasonRule:
		return "a rule of policy.overrides says so"
	case policy.ReasonUndecided:
		return "a milder rule depends on an answer that did not come"
	case policy.ReasonRamp:
		return "policy.ramp enforces only a share of the messages that fail"
	case policy.ReasonInvalidFrom:
		return "the From header field names no author that every reader sees"
	case policy.ReasonNamelessBounce:
		return "the From header field holds no address, as in many notifications, and the sender is null"
	case policy.ReasonTrusted:
		return "the client is in a trusted network"
	case policy.ReasonAuthenticated:
		return "the client logged in"
	case policy.ReasonOversize:
		return "the message is over a limit, and the part that was not read could hide another author"
	case policy.ReasonForged:
		return "the message carries a result in our name, and the MTA does not allow deleting it"
	case policy.ReasonUnlabelled:
		return "the MTA does not allow adding header fields"
	}
	return string(r)
}

// missingText returns in words which answer is missing.
func missingText(what policy.MissingWhat) string {
	switch what {
	case policy.MissingPolicy:
		return "the author's DMARC record"
	case policy.MissingExistence:
		return "whether the author's domain exists"
	case policy.MissingAlignment:
		return "whether an identifier aligns"
	case policy.MissingSPF:
		return "SPF of the envelope's domain"
	case policy.MissingDKIM:
		return "the key of a signature"
	case policy.MissingARC:
		return "a key of the ARC chain"
	case policy.MissingName:
		return "the client's name"
	}
	return string(what)
}
