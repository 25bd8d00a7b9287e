// Package explanation says in words why a message was decided as it was: the
// one line that decided, each SPF term, each signature, the tree walk. The
// command sekimori explain and the console show the same.
package explanation

import (
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
)

// Report is a decision and what led to it; sekimori explain prints it as JSON.
type Report struct {
	// Summary is the one line that decided first, for people.
	Summary string         `json:"summary"`
	Verdict policy.Verdict `json:"verdict"`
	Mode    policy.Mode    `json:"mode"`
	// Evaluation is every fact found; absent for a message that was not
	// evaluated, of which Session and Envelope tell.
	Evaluation *msgauth.Evaluation `json:"evaluation,omitempty"`
	Session    *msgauth.Session    `json:"session,omitempty"`
	Envelope   *msgauth.Envelope   `json:"envelope,omitempty"`
	// AuthenticationResults is the value of the field the message gets; only
	// of a message file.
	AuthenticationResults string `json:"authentication_results,omitempty"`
	// TimeSource says in words which time the message was judged as of, which
	// is evaluation.time; only of a message file.
	TimeSource string `json:"time_source,omitempty"`
	// Lookups are in order of completion, different stages overlap; only of a
	// message file.
	Lookups []dns.Lookup `json:"lookups,omitempty"`
	// Decided is when the running daemon decided; only of a message looked up
	// there, as are the two below.
	Decided time.Time `json:"decided,omitzero"`
	// Took is how long end of message took there.
	Took time.Duration `json:"took_ns,omitempty"`
	// Truncated says that the daemon did not remember all of it.
	Truncated bool `json:"truncated,omitempty"`
}

// FromDecision reports on a message that the running daemon remembers.
func FromDecision(d *recent.Entry) *Report {
	return &Report{
		Summary: Summary(d.Verdict), Verdict: d.Verdict, Mode: d.Mode,
		Evaluation: d.Evaluation, Session: d.Session, Envelope: d.Envelope,
		Decided: d.Time, Took: d.Took, Truncated: d.Truncated,
	}
}
