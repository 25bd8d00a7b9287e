// Package syntax reads what signers write: the tags of a DKIM-Signature field
// and of the two similar fields of ARC, and the key records that signers publish
// (RFC 6376 §3.5 and §3.6.1, RFC 8301, RFC 8463, RFC 8616, RFC 8617 §4.1).
//
// It checks the rules that need only the text of the field or record. It does no
// I/O and no hashing, and it does not look at the rest of the message. Package
// dkim does this work.
package syntax

// Fault says which rule a signature field or a key record breaks. Its text is
// stable and fit for a metric label.
type Fault string

// The faults of signature fields.
const (
	FaultSyntax           Fault = "syntax"
	FaultMissingTag       Fault = "missing_tag"
	FaultVersion          Fault = "version"
	FaultAlgorithm        Fault = "algorithm"
	FaultAlgorithmSHA1    Fault = "algorithm_sha1"
	FaultCanonicalization Fault = "canonicalization"
	FaultQueryMethod      Fault = "query_method"
	FaultDomain           Fault = "domain"          // d= or s= is not a domain name
	FaultDomainMismatch   Fault = "domain_mismatch" // the domain of i= is not d= or below it
	FaultFromNotSigned    Fault = "from_not_signed"
	FaultTooManyHeaders   Fault = "too_many_headers"
)

// The faults of key records, and of keys that do not fit a signature.
const (
	FaultNotKey         Fault = "key_not_found" // the record is not a DKIM key
	FaultKeyRevoked     Fault = "key_revoked"
	FaultKeySyntax      Fault = "key_syntax"
	FaultKeyType        Fault = "key_type"          // k= does not fit a=
	FaultKeyHash        Fault = "key_hash_mismatch" // h= of the key lacks sha256
	FaultKeyService     Fault = "key_service"       // s= of the key lacks email
	FaultStrictIdentity Fault = "strict_identity"   // the key has t=s, but i= is in a subdomain of d=
)

// Error is a broken rule and a sentence for people about it. The sentence does
// not contain text of the sender.
type Error struct {
	Fault  Fault
	Detail string
}

// Error implements error.
func (e *Error) Error() string { return "dkim: " + string(e.Fault) + ": " + e.Detail }

// Canonicalization is how a header or a body is brought into the form that is
// hashed (RFC 6376 §3.4).
type Canonicalization string

// The two canonicalizations.
const (
	Simple  Canonicalization = "simple"
	Relaxed Canonicalization = "relaxed"
)

// The algorithms that may be verified (RFC 8301 §3.1, RFC 8463 §3), and
// rsa-sha1, which must not be verified.
const (
	RSASHA256     = "rsa-sha256"
	Ed25519SHA256 = "ed25519-sha256"
	rsaSHA1       = "rsa-sha1"
)
