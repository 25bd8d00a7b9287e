// Package policy turns an Evaluation into a Verdict. No other package decides
// what the results of the checks lead to. It does no I/O and reads no clock, so
// the daemon, explain and the tests come to the same verdict. (Packages milter
// and filter also refuse messages, but for other reasons: a limit, a panic or a
// restart.)
//
// Decide works in three steps: the facts of the message give a verdict; the
// first of the operator's rules that matches can replace it; the ramp can make
// it one step milder. The table in testdata/decisions.md says what follows from
// the evidence in a failing message. deploy/docs/policy.md shows the same
// table, and a test checks each of its rows. The directory testdata/indirect at
// the top of the repository has whole messages, each with the wanted decision
// and its reason.
package policy

import (
	"crypto/sha256"
	"encoding/base32"

	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
	"sekimori/internal/trait"
)

// Action is what is done with a message.
type Action string

// The actions, the mildest first. Skip is for a message that was not evaluated.
const (
	Skip       Action = "skip"
	Accept     Action = "accept"
	Tag        Action = "tag"
	Quarantine Action = "quarantine"
	TempFail   Action = "tempfail"
	Reject     Action = "reject"
)

// Actions lists every action.
var Actions = []Action{Accept, Tag, Quarantine, Reject, TempFail, Skip}

// Reason is a word that says why the message was decided in this way.
type Reason string

// The reasons.
const (
	ReasonTrusted        Reason = "trusted_network"   // not evaluated: the client is in trusted.networks
	ReasonAuthenticated  Reason = "authenticated"     // not evaluated: the client logged in
	ReasonAligned        Reason = "dmarc_pass"        // an aligned identifier authenticated
	ReasonOtherName      Reason = "other_name"        // like dmarc_pass, but the display name is an address of another domain
	ReasonReject         Reason = "dmarc_reject"      // p=reject, applied
	ReasonIndirect       Reason = "dmarc_indirect"    // p=reject, but the message looks like indirect mail or the author's own mail
	ReasonLocalReject    Reason = "dmarc_softened"    // p=reject, configured to quarantine
	ReasonQuarantine     Reason = "dmarc_quarantine"  // p=quarantine, applied
	ReasonForwarder      Reason = "trusted_forwarder" // a DMARC fail, but a trusted sealer vouches for the message
	ReasonRule           Reason = "rule"              // a rule of policy.overrides names the action
	ReasonUndecided      Reason = "rule_temperror"    // an answer is missing, and a milder rule might have matched
	ReasonRamp           Reason = "ramp"              // the message is not in the share on which the policy is enforced
	ReasonNone           Reason = "dmarc_policy_none" // a DMARC fail under p=none
	ReasonNoPolicy       Reason = "no_policy"         // no DMARC record and nothing passes
	ReasonPassNoPolicy   Reason = "no_policy_pass"    // no DMARC record, something passes
	ReasonSPFFail        Reason = "spf_fail"          // no DMARC record and SPF says fail
	ReasonTempError      Reason = "temperror"         // an answer that is needed to decide on the message is missing
	ReasonInvalidFrom    Reason = "invalid_from"      // there is no single author
	ReasonNamelessBounce Reason = "nameless_bounce"   // the sender is null and From has no address
	ReasonOversize       Reason = "oversize"          // the message exceeds a limit
	ReasonForged         Reason = "forged_result"     // the MTA does not let us delete a result in our name
	ReasonUnlabelled     Reason = "unlabelled"        // the MTA does not let us add fields
)

// Reasons lists every reason.
var Reasons = []Reason{
	ReasonTrusted, ReasonAuthenticated, ReasonAligned, ReasonOtherName, ReasonReject,
	ReasonIndirect, ReasonLocalReject, ReasonQuarantine, ReasonForwarder, ReasonRule,
	ReasonUndecided, ReasonRamp, ReasonNone, ReasonNoPolicy, ReasonPassNoPolicy,
	ReasonSPFFail, ReasonTempError, ReasonInvalidFrom, ReasonNamelessBounce, ReasonOversize,
	ReasonForged, ReasonUnlabelled,
}

// OverrideType is a word of RFC 9990. It says why the disposition differs from
// the published policy.
type OverrideType string

// The override types (RFC 9990 §3.1.1.6).
const (
	OverrideLocalPolicy      OverrideType = "local_policy"
	OverrideMailingList      OverrideType = "mailing_list"
	OverrideTestMode         OverrideType = "policy_test_mode"
	OverrideTrustedForwarder OverrideType = "trusted_forwarder"
	OverrideOther            OverrideType = "other"
)

// OverrideTypes lists every override type.
var OverrideTypes = []OverrideType{OverrideLocalPolicy, OverrideMailingList, OverrideTestMode, OverrideTrustedForwarder, OverrideOther}

// Override says why the disposition differs from the published policy.
type Override struct {
	Type    OverrideType `json:"type"`
	Comment string       `json:"comment"`
}

// Verdict is the decision on one message.
type Verdict struct {
	Action Action `json:"verdict"`
	// Applied is the action that is taken. It is Action, with these exceptions.
	// In monitor mode it is Tag or Accept instead of a refusal or quarantine.
	// It is Tag instead of Quarantine if messages are quarantined by label
	// only, or if the MTA has no quarantine.
	Applied  Action `json:"applied"`
	Enforced bool   `json:"enforced"`
	Reason   Reason `json:"reason"`
	// Spoofing and Indirect list traits of a message that fails. Spoofing has
	// the signs of a direct spoof. Indirect has the signs of a list, a
	// forwarder or the author's own mail.
	Spoofing []trait.Trait `json:"spoofing,omitempty"`
	Indirect []trait.Trait `json:"indirect,omitempty"`
	// Learned lists the learned signs of a message that fails. They are in Spoofing and Indirect as well,
	// if policy.learned is "use".
	Learned []trait.Trait `json:"learned,omitempty"`
	// Missing lists the missing answers that are needed to decide on the
	// message. It is set if Reason is ReasonTempError or ReasonUndecided.
	Missing  []Missing `json:"missing,omitempty"`
	Evidence []string  `json:"evidence,omitempty"` // further reasons for the decision, as sentences
	// Rule is the id of the operator's rule that matched, even if it changed
	// nothing.
	Rule string `json:"rule,omitempty"`
	// Relaxed is true if the ramp made Action one step milder.
	Relaxed bool `json:"relaxed,omitempty"`
	// Disposition is what the policy of this site intends, after rules and
	// other overrides: none, quarantine or reject. It is not what was done. In
	// monitor mode nothing is done, and Applied says so, but Disposition is the
	// same as in enforce mode. Metrics and logs show it, to tell an operator
	// what enforcing would do. A DMARC report must say what was done: see
	// Observe in package report. Override explains why Disposition is not the
	// published policy. Its comment is for the operator only.
	Disposition dmarc.Policy `json:"disposition"`
	Override    *Override    `json:"override,omitempty"`
	// Reply is the answer to the client. It is set if Applied is Reject or
	// TempFail.
	Reply smtp.Reply `json:"reply,omitzero"`
	// Consent counts the recipients by whether they agreed that verdicts are
	// enforced. Would is the Action that the message would have had if no
	// recipient had opted out, or "" if that is the same Action. No DMARC
	// report may count the message if Consent.Reportable is false.
	Consent Consent `json:"consent,omitzero"`
	Would   Action  `json:"would,omitempty"`
	// ID is part of the reply and of the log record. A sender who gets a bounce
	// can quote it to the operator.
	ID string `json:"id"`
}

// explanationID returns the ID of a verdict. It depends only on the message and
// its queue id, so a message that is decided again gets the same ID.
func explanationID(e *msgauth.Evaluation) string {
	var usual [1024]byte // large enough for one or two long signatures, so usually nothing is allocated
	b := e.Session.Client.AppendTo(usual[:0])
	for _, s := range [...]string{e.Envelope.QueueID, e.Session.HELO, e.Envelope.MailFrom, string(e.From.AuthorDomain)} {
		b = append(append(b, 0), s...)
	}
	b = append(b, 0)
	for i := range e.DKIM {
		b = append(b, e.DKIM[i].B...)
	}
	sum := sha256.Sum256(b)
	const octets = 5 // 40 bits are enough to tell apart the messages in the log of one day
	return base32.HexEncoding.EncodeToString(sum[:octets])
}
