// Package policy turns an Evaluation into a Verdict. No other package says
// reject, quarantine, tempfail or override. It does no I/O and reads no clock,
// so the daemon, explain and the tests decide alike.
//
// A message is decided on by its facts, then by the first of the operator's
// rules that matches, then by the ramp. The table in testdata/decisions.md says
// what follows from the evidence in a failing message; the handbook shows that
// table, and a test decides it row by row. testdata/indirect at the top of the
// repository has whole messages, each with the wanted decision and its reason.
package policy

import (
	"crypto/sha256"
	"encoding/base32"

	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
	"sekimori/internal/trait"
)

// Action is what becomes of a message.
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

// Reason names the one rule of this package, or of the operator, that decided.
type Reason string

// The reasons.
const (
	ReasonTrusted        Reason = "trusted_network"   // not evaluated
	ReasonAuthenticated  Reason = "authenticated"     // not evaluated
	ReasonAligned        Reason = "dmarc_pass"        // an aligned identifier authenticated
	ReasonOtherName      Reason = "other_name"        // as dmarc_pass, but the display name is an address of another domain
	ReasonReject         Reason = "dmarc_reject"      // p=reject, applied
	ReasonIndirect       Reason = "dmarc_indirect"    // p=reject, but the message looks like indirect mail
	ReasonLocalReject    Reason = "dmarc_softened"    // p=reject, configured to quarantine
	ReasonQuarantine     Reason = "dmarc_quarantine"  // p=quarantine, applied
	ReasonForwarder      Reason = "trusted_forwarder" // a fail, but a trusted sealer vouches for the message
	ReasonRule           Reason = "rule"              // one of policy.overrides names the action
	ReasonUndecided      Reason = "rule_temperror"    // a milder rule might have matched
	ReasonRamp           Reason = "ramp"              // the message is not in the share that is enforced
	ReasonNone           Reason = "dmarc_policy_none" // p=none and a fail
	ReasonNoPolicy       Reason = "no_policy"         // no DMARC record and nothing passes
	ReasonPassNoPolicy   Reason = "no_policy_pass"    // no DMARC record, something passes
	ReasonSPFFail        Reason = "spf_fail"          // no DMARC record and SPF says fail
	ReasonTempError      Reason = "temperror"         // an answer that decides is missing
	ReasonInvalidFrom    Reason = "invalid_from"      // there is no single author
	ReasonNamelessBounce Reason = "nameless_bounce"   // the null sender, and a From without any address
	ReasonOversize       Reason = "oversize"          // the message is over a limit of ours
	ReasonForged         Reason = "forged_result"     // a result in our name cannot be deleted
	ReasonUnlabelled     Reason = "unlabelled"        // the MTA refused our edits
)

// OverrideType is the word of RFC 9990 for why the applied disposition differs
// from the published policy.
type OverrideType string

// The override types (RFC 9990 §3.1.1.6).
const (
	OverrideLocalPolicy      OverrideType = "local_policy"
	OverrideMailingList      OverrideType = "mailing_list"
	OverrideTestMode         OverrideType = "policy_test_mode"
	OverrideTrustedForwarder OverrideType = "trusted_forwarder"
	OverrideOther            OverrideType = "other"
)

// OverrideTypes lists every type.
var OverrideTypes = []OverrideType{OverrideLocalPolicy, OverrideMailingList, OverrideTestMode, OverrideTrustedForwarder, OverrideOther}

// Override is a deviation from the published policy.
type Override struct {
	Type    OverrideType `json:"type"`
	Comment string       `json:"comment"`
}

// Verdict is the decision on one message.
type Verdict struct {
	Action Action `json:"verdict"`
	// Applied is what is really done: Action, but Tag or Accept in monitor
	// mode, and Tag if messages are quarantined by header only.
	Applied  Action `json:"applied"`
	Enforced bool   `json:"enforced"`
	Reason   Reason `json:"reason"`
	// Spoofing and Indirect are traits of a message that fails. Those in
	// Spoofing speak for a direct spoof, those in Indirect for a list, a
	// forwarder or the author himself.
	Spoofing []trait.Trait `json:"spoofing,omitempty"`
	Indirect []trait.Trait `json:"indirect,omitempty"`
	// Missing lists the answers without which the message cannot be decided. It
	// is set if Reason is ReasonTempError or ReasonUndecided.
	Missing  []Missing `json:"missing,omitempty"`
	Evidence []string  `json:"evidence,omitempty"` // other reasons for the decision, in words
	// Rule is the id of the operator's rule that matched, even if it changed
	// nothing.
	Rule string `json:"rule,omitempty"`
	// Relaxed is set if the ramp made Action one step milder.
	Relaxed bool `json:"relaxed,omitempty"`
	// Disposition is the disposition after overrides, as a DMARC report has it.
	Disposition dmarc.Policy `json:"disposition"`
	Override    *Override    `json:"override,omitempty"`
	// Reply is the answer to the client. It is set if Applied is Reject or
	// TempFail.
	Reply smtp.Reply `json:"reply,omitzero"`
	// Consent counts the recipients who agreed to verdicts and those who opted
	// out. No DMARC report may count the message if Consent.Reportable is
	// false. Would is the Action without those who opted out, "" if they
	// changed nothing.
	Consent Consent `json:"consent,omitzero"`
	Would   Action  `json:"would,omitempty"`
	// ID stands in the reply and in the log, so that a bounced sender can quote
	// it.
	ID string `json:"id"`
}

// explanationID is made only from the message's facts and its queue id, so it
// is the same each time.
func explanationID(e *msgauth.Evaluation) string {
	var usual [1024]byte // fits one or two long signatures
	b := e.Session.Client.AppendTo(usual[:0])
	for _, s := range [...]string{e.Envelope.QueueID, e.Session.HELO, e.Envelope.MailFrom, string(e.From.AuthorDomain)} {
		b = append(append(b, 0), s...)
	}
	b = append(b, 0)
	for i := range e.DKIM {
		b = append(b, e.DKIM[i].B...)
	}
	sum := sha256.Sum256(b)
	const octets = 5 // 40 bits tell the messages of a day's log apart
	return base32.HexEncoding.EncodeToString(sum[:octets])
}
