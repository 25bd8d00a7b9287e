// Package explain says in words why a message got its decision. First comes one line
// with the verdict and its reason. Then come sections about each SPF term, each
// signature, each DMARC record that was looked up, and the edits.
//
// The package explains decisions that the daemon remembers, for the console and for
// "sekimori explain --queue-id". It also explains stored messages, and decides on them with
// package judge, as the daemon does.
package explain

import (
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
)

// Explanation is a decision and what led to it. "sekimori explain --json" prints it.
type Explanation struct {
	// Summary is one line of text with the verdict and the reason.
	Summary string         `json:"summary"`
	Verdict policy.Verdict `json:"verdict"`
	Mode    policy.Mode    `json:"mode"`
	// Evaluation has the results of all checks. It is absent for a message that was not
	// evaluated. Session and Envelope then say what is known about the message.
	Evaluation *msgauth.Evaluation `json:"evaluation,omitempty"`
	Session    *msgauth.Session    `json:"session,omitempty"`
	Envelope   *msgauth.Envelope   `json:"envelope,omitempty"`
	// Shadow has the verdicts of the policy in effect and of the candidate policy, as they
	// were before the consent of the recipients was considered. Shadow is absent if there is
	// no candidate policy.
	Shadow *judge.Comparison `json:"shadow,omitempty"`
	// Edits are the changes to the message, in the order in which they are made. They are
	// absent for a message that the daemon remembers.
	Edits []label.Edit `json:"edits,omitempty"`
	// AuthenticationResults is the value of the Authentication-Results field that the
	// message gets. It is absent for a message that the daemon remembers.
	AuthenticationResults string `json:"authentication_results,omitempty"`
	// TimeSource says in words where the time of the judgement (evaluation.time) comes
	// from. It is absent for a message that the daemon remembers.
	TimeSource string `json:"time_source,omitempty"`
	// Lookups are the DNS lookups, in the order in which they ended. Some lookups run at
	// the same time, so the order may differ between runs. Lookups is absent for a message
	// that the daemon remembers.
	Lookups []dns.Lookup `json:"lookups,omitempty"`
	// Decided is when the daemon made the decision. Decided, Took and Truncated are set
	// only for a message that the daemon remembers.
	Decided time.Time `json:"decided,omitzero"`
	// Took is the time that the daemon needed from the end of the message to the decision.
	Took time.Duration `json:"took_ns,omitempty"`
	// Truncated says that the daemon cut long texts or lists when it stored the decision.
	Truncated bool `json:"truncated,omitempty"`
}

// Remembered returns the explanation of a decision that the daemon remembers.
func Remembered(e *recent.Entry) *Explanation {
	return &Explanation{
		Summary: Summary(e.Verdict), Verdict: e.Verdict, Mode: e.Mode, Shadow: e.Shadow,
		Evaluation: e.Evaluation, Session: e.Session, Envelope: e.Envelope,
		Decided: e.Time, Took: e.Took, Truncated: e.Truncated,
	}
}
