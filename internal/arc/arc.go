// Package arc validates Authenticated Received Chains, as a receiver does
// (RFC 8617 §5.2).
//
// An ARC-Message-Signature has the syntax of a DKIM signature. So package dkim
// looks up the keys, hashes the body and canonicalizes the header for both, once
// for all signatures of a message:
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
	Fail Status = "fail" // the chain proves as little as no chain
	// NotEvaluated is the status of a chain that would take more arithmetic than a
	// message may. No result is written for such a chain, and nobody may rely on it.
	NotEvaluated Status = ""
)

// Reason says why a chain fails. Its text is stable and fit for a metric label.
type Reason string

// The reasons. The cause of a signature's failure is in Result.Signature.
const (
	ReasonTooManySets      Reason = "too_many_sets"
	ReasonInstance         Reason = "instance"     // i= missing, malformed or out of range
	ReasonDuplicate        Reason = "duplicate"    // two fields of a kind with the same i=
	ReasonIncomplete       Reason = "incomplete"   // a gap, or a set without one of its three
	ReasonChainFailed      Reason = "chain_failed" // the newest sealer says cv=fail
	ReasonChainValue       Reason = "chain_value"  // cv= does not fit its place in the chain
	ReasonSealSyntax       Reason = "seal_syntax"  // an ARC-Seal is malformed or has h=
	ReasonMessageSignature Reason = "message_signature"
	ReasonSealSignature    Reason = "seal_signature"
	ReasonWorkLimit        Reason = "work_limit" // with NotEvaluated
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
	// MessagePass says that the ARC-Message-Signature verifies: nobody has changed
	// the message since. The newest set is checked first; after the first failure,
	// or when the message's work is used up, older sets are not checked.
	MessagePass bool `json:"message_pass"`
	// AuthResults is the ARC-Authentication-Results after "i=N;", as received,
	// folds included. It is a claim of the sealer.
	AuthResults string `json:"auth_results,omitempty"`
}

// Result is the result for a message's chain.
type Result struct {
	Status Status `json:"status"`
	Reason Reason `json:"reason,omitempty"` // with Fail and NotEvaluated
	Detail string `json:"detail,omitempty"` // for people; never the sender's raw text
	// Instance is the set that failed. It is 0 if none did, or several.
	Instance int `json:"instance,omitempty"`
	// Signature is why a signature of that set does not verify. A DNS failure too
	// makes the chain fail (RFC 8617 §5.2.1); Signature then names it.
	Signature dkim.Reason `json:"signature,omitempty"`
	// OldestPass is the lowest instance from which on every
	// ARC-Message-Signature is known to verify, or 0 if all verify (RFC 8617 §5.2
	// step 5). It is valid with Pass only.
	OldestPass int `json:"oldest_pass"`
	// Sets are in the order of their instances. There are none if the chain's
	// structure is broken. Only the sets of a Pass are authentic.
	Sets []Set `json:"sets,omitempty"`
	// RemoteIP is the client address that the newest set claims in smtp.remote-ip
	// (RFC 8617 §10.2). It is the zero value without Pass or without such a claim.
	RemoteIP netip.Addr `json:"remote_ip,omitzero"`
}
