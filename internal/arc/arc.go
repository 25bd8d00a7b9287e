// Package arc validates Authenticated Received Chains (RFC 8617 §5.2), the
// receiver's side of them.
//
// An ARC-Message-Signature is a DKIM signature in all but name, so keys, body
// hashes and canonicalization are package dkim's, shared with the DKIM
// signatures of the same message:
//
//	d := dkim.NewVerifier(header, options)
//	a := arc.NewVerifier(d.Message(), options)
//	d.Start(ctx, resolver)
//	a.Start(ctx, resolver)
//	d.Write(chunk) // feeds both
//	chain := a.Finish(ctx)
package arc

import (
	"net/netip"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
)

// Status is the validation result of a chain (RFC 8617 §4.4).
type Status string

// The statuses.
const (
	None Status = "none" // there is no chain
	Pass Status = "pass"
	Fail Status = "fail" // worth no more than no chain
	// NotEvaluated: verifying it would take more arithmetic than a message may.
	// Nothing is said of such a chain, and it vouches for nothing.
	NotEvaluated Status = ""
)

// Reason says why a chain fails; it is stable, fit for a metric label.
type Reason string

// The reasons. The cause of a signature's failure is in Result.Signature.
const (
	ReasonTooManySets      Reason = "too_many_sets"
	ReasonInstance         Reason = "instance"     // i= missing, malformed or out of range
	ReasonDuplicate        Reason = "duplicate"    // two fields of a kind with one i=
	ReasonIncomplete       Reason = "incomplete"   // a gap, or a set without one of its three
	ReasonChainFailed      Reason = "chain_failed" // the newest sealer says cv=fail
	ReasonChainValue       Reason = "chain_value"  // cv= is not what its place in the chain asks
	ReasonSealSyntax       Reason = "seal_syntax"  // malformed ARC-Seal, or one with h=
	ReasonMessageSignature Reason = "message_signature"
	ReasonSealSignature    Reason = "seal_signature"
	ReasonWorkLimit        Reason = "work_limit" // of NotEvaluated
)

// Set is one ARC set: what an intermediary said about the message.
type Set struct {
	Instance int      `json:"instance"` // i=, from 1
	Sealer   dns.Name `json:"sealer"`   // d= of ARC-Seal
	Selector string   `json:"selector"` // s= of ARC-Seal
	CV       string   `json:"cv"`       // cv= of ARC-Seal
	// MessageDomain and MessageSelector are d= and s= of ARC-Message-Signature.
	MessageDomain   dns.Name `json:"message_domain,omitempty"`
	MessageSelector string   `json:"message_selector,omitempty"`
	// MessagePass says that the ARC-Message-Signature verifies: nobody changed
	// the message since. Sets older than the first failure are not looked at,
	// nor are those for which the work that a message may do is not enough.
	MessagePass bool `json:"message_pass"`
	// AuthResults is the ARC-Authentication-Results after "i=N;", as received,
	// folds included. It is the sealer's word, no more.
	AuthResults string `json:"auth_results,omitempty"`
}

// Result is what became of a message's chain.
type Result struct {
	Status Status `json:"status"`
	Reason Reason `json:"reason,omitempty"` // of Fail and NotEvaluated
	Detail string `json:"detail,omitempty"` // for people; never the sender's raw text
	// Instance is the set that failed, 0 if none or not one alone.
	Instance int `json:"instance,omitempty"`
	// Signature is why a signature of that set does not verify. A DNS failure
	// is permanent to a chain (RFC 8617 §5.2.1); that it was one shows here.
	Signature dkim.Reason `json:"signature,omitempty"`
	// OldestPass is the lowest instance from which on every
	// ARC-Message-Signature is known to verify; 0 if all do (RFC 8617 §5.2 step
	// 5). It means something for Pass only.
	OldestPass int `json:"oldest_pass"`
	// Sets are in order of their instance, none if the chain's structure is
	// broken. Only those of a Pass are authentic.
	Sets []Set `json:"sets,omitempty"`
	// RemoteIP is the client address that the newest set reports in
	// smtp.remote-ip (RFC 8617 §10.2), for Pass only; it may be the zero value.
	RemoteIP netip.Addr `json:"remote_ip,omitzero"`
}
