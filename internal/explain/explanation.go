// Package explain says in words why a message was decided as it was: first the one
// line that decided, then each SPF term, each signature, the tree walk and the
// edits. It explains the decisions that the daemon remembers, for the console and
// for "sekimori explain --queue-id", and the decision on a stored message, which it
// has judged by the daemon's own code.
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
	// Summary is one line for people: the verdict and the rule that decided.
	Summary string         `json:"summary"`
	Verdict policy.Verdict `json:"verdict"`
	Mode    policy.Mode    `json:"mode"`
	// Evaluation has every fact. It is absent for a message that was not evaluated;
	// Session and Envelope then say what is known of the message.
	Evaluation *msgauth.Evaluation `json:"evaluation,omitempty"`
	Session    *msgauth.Session    `json:"session,omitempty"`
	Envelope   *msgauth.Envelope   `json:"envelope,omitempty"`
	// Shadow is what the policy in effect and the candidate (shadow) make of the
	// facts, before recipients are asked for their consent; absent without a
	// candidate.
	Shadow *judge.Comparison `json:"shadow,omitempty"`
	// Edits are the changes to the message, in the order in which they are made; only
	// for a message file.
	Edits []label.Edit `json:"edits,omitempty"`
	// AuthenticationResults is the value of the field that the message gets; only for a
	// message file.
	AuthenticationResults string `json:"authentication_results,omitempty"`
	// TimeSource says in words where evaluation.time is from, the time as of which the
	// message was judged; only for a message file.
	TimeSource string `json:"time_source,omitempty"`
	// Lookups are the DNS lookups, in the order in which they ended; lookups of different
	// stages overlap. Only for a message file.
	Lookups []dns.Lookup `json:"lookups,omitempty"`
	// Decided is when the running daemon decided. Decided, Took and Truncated are only
	// for a message that the daemon remembers.
	Decided time.Time `json:"decided,omitzero"`
	// Took is how long the end of the message took there.
	Took time.Duration `json:"took_ns,omitempty"`
	// Truncated says that the daemon did not remember all of the message.
	Truncated bool `json:"truncated,omitempty"`
}

// Remembered explains a message that the running daemon remembers.
func Remembered(e *recent.Entry) *Explanation {
	return &Explanation{
		Summary: Summary(e.Verdict), Verdict: e.Verdict, Mode: e.Mode, Shadow: e.Shadow,
		Evaluation: e.Evaluation, Session: e.Session, Envelope: e.Envelope,
		Decided: e.Time, Took: e.Took, Truncated: e.Truncated,
	}
}
