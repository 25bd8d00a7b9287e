// Package arc validates Authenticated Received Chains, as a receiver does
// (RFC 8617 §5.2).
//
// An ARC-Message-Signature has the syntax of a DKIM signature. So package dkim
// does the work that DKIM and ARC have in common: it looks up the keys, hashes the
// body and canonicalizes the header, once for all signatures of a message:
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

// The statuses of a chain.
const (
	None Status = "none" // there is no chain
	Pass Status = "pass"
	Fail Status = "fail" // the chain does not verify, so it proves nothing
	// NotEvaluated means that verifying the chain would take more arithmetic than
	// one message may cause (see [dkim.Message.Reserve]). No arc= result is written
	// for such a chain, and callers must not rely on it.
	NotEvaluated Status = ""
)

// Reason says why a chain fails. Its text is stable and fit for a metric label.
type Reason string

// The reasons. If a signature fails, Result.Signature says why.
const (
	ReasonTooManySets      Reason = "too_many_sets"
	ReasonInstance         Reason = "instance"     // i= missing, malformed or out of range
	ReasonDuplicate        Reason = "duplicate"    // two fields of the same name have the same i=
	ReasonIncomplete       Reason = "incomplete"   // an instance is missing, or a set lacks one of its three fields
	ReasonChainFailed      Reason = "chain_failed" // the newest sealer says cv=fail
	ReasonChainValue       Reason = "chain_value"  // cv= is not none in the first set, or not pass in a later set
	ReasonSealSyntax       Reason = "seal_syntax"  // an ARC-Seal is malformed, or has h= or bh=
	ReasonMessageSignature Reason = "message_signature"
	ReasonSealSignature    Reason = "seal_signature"
	ReasonWorkLimit        Reason = "work_limit" // the Status is NotEvaluated
)

// Set is one ARC set: the three fields in which one intermediary says what it
// found.
type Set struct {
	Instance int      `json:"instance"` // i=; the oldest set has 1
	Sealer   dns.Name `json:"sealer"`   // d= of ARC-Seal
	Selector string   `json:"selector"` // s= of ARC-Seal
	CV       string   `json:"cv"`       // cv= of ARC-Seal; "" if it is not none, pass or fail
	// MessageDomain and MessageSelector are d= and s= of ARC-Message-Signature.
	MessageDomain   dns.Name `json:"message_domain,omitempty"`
	MessageSelector string   `json:"message_selector,omitempty"`
	// MessagePass says that the ARC-Message-Signature verifies, so what it signs
	// was not changed after this intermediary. The newest set is checked first.
	// After the first failure, or when the work limit of the message is reached,
	// older sets are not checked and have false.
	MessagePass bool `json:"message_pass"`
	// AuthResults is the text of ARC-Authentication-Results after "i=N;", as
	// received, folds included. It is what the sealer claims.
	AuthResults string `json:"auth_results,omitempty"`
}

// Result is the result for a message's chain.
type Result struct {
	Status Status `json:"status"`
	Reason Reason `json:"reason,omitempty"` // set if Status is Fail or NotEvaluated
	Detail string `json:"detail,omitempty"` // explanation for people; never contains text that the sender chose
	// Instance is the number of the set that failed. It is 0 if nothing failed or
	// no single set is to blame.
	Instance int `json:"instance,omitempty"`
	// Signature is set if the chain failed because of a signature in the set
	// Instance. It says why that signature does not verify. It begins with "dns_" if
	// the key could not be looked up; the chain fails then too (RFC 8617 §5.2.1).
	Signature dkim.Reason `json:"signature,omitempty"`
	// OldestPass is the lowest instance such that its ARC-Message-Signature and
	// those of all newer sets verify. It is 0 if those of all sets verify (RFC 8617
	// §5.2 step 5). It has a meaning only if Status is Pass.
	OldestPass int `json:"oldest_pass"`
	// Sets are in the order of their instances. The list is empty if the structure
	// of the chain is broken. The sets are authentic only if Status is Pass.
	Sets []Set `json:"sets,omitempty"`
	// RemoteIP is the client address that the newest set claims in smtp.remote-ip
	// (RFC 8617 §10.2). It is the zero Addr if Status is not Pass, or if the set
	// does not claim an address.
	RemoteIP netip.Addr `json:"remote_ip,omitzero"`
}
