// Package dkim verifies DKIM signatures (RFC 6376, RFC 8301, RFC 8463,
// RFC 8616) while the message arrives. Package dkim/syntax parses the signatures
// and keys; this package looks keys up, hashes and verifies.
//
// A [Verifier] is made at the end of the header, starts its key lookups at
// once, takes the body in any chunks and is asked for its results at the end:
//
//	v := dkim.NewVerifier(header, dkim.Options{Now: now})
//	v.Start(ctx, resolver)
//	v.Write(chunk) // as often as chunks come
//	signatures := v.Finish(ctx)
//
// The package does not store the body. Each body canonicalization that a signature asks for
// is hashed once, whatever the number of signatures. All signatures of a message share a
// [Message], which has the index of the header, the body hashes and the key lookups.
// Package arc uses the same Message.
package dkim

import (
	"time"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
)

// Result is the outcome for one signature, in the words of RFC 8601 §2.7.1.
type Result string

// The results. A Signature never has the result None. Callers use it for
// messages without signatures.
const (
	None      Result = "none"
	Pass      Result = "pass"
	Fail      Result = "fail"      // the signature does not match, or it has expired
	Policy    Result = "policy"    // local policy does not accept it: a weak key, an uncovered body, too many signatures
	Neutral   Result = "neutral"   // no judgment, because the MTA may have changed the message; see ReasonNotVerifiable
	TempError Result = "temperror" // a temporary failure: a later attempt may verify the signature
	PermError Result = "permerror" // the signature is malformed or has no usable key
)

// Reason says why a result is not pass. Its text is stable and fit for a metric
// label.
type Reason string

// The reasons that package syntax finds, in a signature or in a key. They lead to
// PermError.
const (
	ReasonSyntax           = Reason(syntax.FaultSyntax)
	ReasonMissingTag       = Reason(syntax.FaultMissingTag)
	ReasonVersion          = Reason(syntax.FaultVersion)
	ReasonAlgorithm        = Reason(syntax.FaultAlgorithm)
	ReasonAlgorithmSHA1    = Reason(syntax.FaultAlgorithmSHA1)
	ReasonCanonicalization = Reason(syntax.FaultCanonicalization)
	ReasonQueryMethod      = Reason(syntax.FaultQueryMethod)
	ReasonDomain           = Reason(syntax.FaultDomain)
	ReasonDomainMismatch   = Reason(syntax.FaultDomainMismatch)
	ReasonFromNotSigned    = Reason(syntax.FaultFromNotSigned)
	ReasonTooManyHeaders   = Reason(syntax.FaultTooManyHeaders)
	ReasonKeyNotFound      = Reason(syntax.FaultNotKey)
	ReasonKeyRevoked       = Reason(syntax.FaultKeyRevoked)
	ReasonKeySyntax        = Reason(syntax.FaultKeySyntax)
	ReasonKeyType          = Reason(syntax.FaultKeyType)
	ReasonKeyHash          = Reason(syntax.FaultKeyHash)
	ReasonKeyService       = Reason(syntax.FaultKeyService)
	ReasonStrictIdentity   = Reason(syntax.FaultStrictIdentity)
)

// The reasons that this package finds. For a DNS failure the reason is "dns_" and
// the kind of the [dns.Error], such as "dns_timeout". "dns_loop" and
// "dns_too_large" lead to PermError. All other DNS failures lead to TempError.
const (
	ReasonBodyHash          Reason = "body_hash_mismatch"
	ReasonSignature         Reason = "signature_mismatch"
	ReasonNotVerifiable     Reason = "not_verifiable_as_received" // the MTA may have cut or changed a signed field
	ReasonDroppedField      Reason = "dropped_field"              // a signed field is missing, one that MTAs remove before a milter sees it
	ReasonLeadingSpace      Reason = "leading_space"              // the MTA does not show whether the signed values began with a space
	ReasonFromMissing       Reason = "from_missing"
	ReasonMultipleFrom      Reason = "multiple_from"
	ReasonTooManySignatures Reason = "too_many_signatures"
	ReasonExpired           Reason = "expired"
	ReasonBodyLength        Reason = "body_length"        // l= leaves body octets uncovered
	ReasonBeyondBody        Reason = "length_beyond_body" // l= is larger than the body
	ReasonWeakKey           Reason = "weak_key"           // the key has too few bits, or anybody can sign with it
	ReasonLargeKey          Reason = "large_key"          // the key has too many bits
	ReasonWorkLimit         Reason = "work_limit"         // verifying the signature would take more arithmetic than one message may cause
	ReasonInternal          Reason = "internal_error"     // a panic was caught
	reasonDNS               Reason = "dns_"               // prefix, followed by the kind of the DNS failure
)

// Error says why one step of a verification failed. It has the result, the
// stable reason and a sentence for people.
type Error struct {
	Result Result
	Reason Reason
	Detail string
}

// Error implements error.
func (e *Error) Error() string {
	s := "dkim: " + string(e.Reason)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// malformed turns an error of package syntax into a PermError.
func malformed(e *syntax.Error) *Error {
	if e == nil {
		return nil
	}
	return &Error{PermError, Reason(e.Fault), e.Detail}
}

// Signature is one DKIM-Signature field and its result.
type Signature struct {
	Result Result `json:"result"`
	Reason Reason `json:"reason,omitempty"` // "" for pass
	Detail string `json:"detail,omitempty"` // explanation for people; never contains text that the sender chose

	// Field is the index of the signature in the header given to NewVerifier.
	Field int `json:"field"`

	// The following fields are what the signature says. If it is malformed, they
	// have what could be read.
	Domain    dns.Name `json:"domain,omitempty"`    // d=, the SDID, A-labels
	Identity  string   `json:"identity,omitempty"`  // i=, the AUID, decoded; "@"+d= by default
	Selector  string   `json:"selector,omitempty"`  // s=, A-labels in lower case
	Algorithm string   `json:"algorithm,omitempty"` // a=, such as "rsa-sha256"
	// Canonicalization is c= in full, such as "relaxed/simple".
	Canonicalization string   `json:"canonicalization,omitempty"`
	SignedHeaders    []string `json:"signed_headers,omitempty"` // h=, as written
	Timestamp        *int64   `json:"timestamp,omitempty"`      // t=, seconds since 1970
	Expiration       *int64   `json:"expiration,omitempty"`     // x=, seconds since 1970
	BodyLength       *int64   `json:"body_length,omitempty"`    // l=, octets
	B                string   `json:"b,omitempty"`              // b=, base64 without white space

	// The following fields are what the verification found.
	Uncovered int64  `json:"uncovered,omitempty"` // octets of the canonical body after those that l= covers
	KeyType   string `json:"key_type,omitempty"`  // "rsa" or "ed25519"
	KeyBits   int    `json:"key_bits,omitempty"`
	// Ahead says that t= is later than the clock of this host by more than the
	// skew. Result does not depend on it. RFC 6376 §3.5 lets a verifier ignore such
	// a signature. But a forger gains nothing by a t= in the future, and the usual
	// cause is that the clock or the time zone of the signer is wrong.
	Ahead bool `json:"ahead,omitempty"`
	// Testing says that the key has t=y. Result does not depend on it: RFC 6376
	// §3.6.1 asks to treat such mail as unsigned mail, neither better nor worse.
	Testing bool `json:"testing,omitempty"`
	// KeyAuthenticated says that the resolver validated the key by DNSSEC.
	KeyAuthenticated bool `json:"key_authenticated,omitempty"`
	// NotWaited says that Result is TempError only because Finish stopped waiting for the key.
	NotWaited bool `json:"-"`
}

// BodyLengthPolicy says which result a signature with l= gets if it verifies.
type BodyLengthPolicy string

// The policies for l= (RFC 6376 §8.2).
const (
	// BodyLengthCovered gives pass if l= covers the whole body, and policy
	// otherwise.
	BodyLengthCovered BodyLengthPolicy = "covered"
	// BodyLengthAccept gives pass even if octets follow those that l= covers.
	BodyLengthAccept BodyLengthPolicy = "accept"
	// BodyLengthFail gives fail to every signature with l=.
	BodyLengthFail BodyLengthPolicy = "fail"
)

// BodyLengthPolicies lists every policy for l=.
var BodyLengthPolicies = []BodyLengthPolicy{BodyLengthCovered, BodyLengthAccept, BodyLengthFail}

// Options are the local policy for signatures and what the caller knows about
// the message. The zero value is usable.
type Options struct {
	// MaxSignatures is the maximum number of signatures that are verified; 0 means 10. RFC
	// 6376 §6.1 allows a limit. Further signatures get the result policy with the reason
	// too_many_signatures.
	MaxSignatures int
	// MinRSABits is the size of the smallest RSA key that is accepted. Values below
	// 1024 count as 1024, the least that RFC 8301 §3.2 allows.
	MinRSABits int
	// BodyLength is the policy for l=; "" means covered.
	BodyLength BodyLengthPolicy
	// Now is the time for t= and x=; the zero time means time.Now().
	Now time.Time
	// Skew is the largest accepted difference between clocks. 0 means five minutes. With a
	// negative value clocks may not differ at all.
	Skew time.Duration
	// ReturnPath is the envelope's sender in angle brackets, or "" if it is not
	// known. MTAs remove the Return-Path field. A signature that covers this field
	// is verified with the value of ReturnPath.
	ReturnPath string
	// LeadingSpaceUnknown says that the MTA does not show whether there was a
	// space between the colon of a field and its value. In the header that the
	// caller gives, each value then begins with a space or a tab, even if the
	// original value did not.
	LeadingSpaceUnknown bool
	// Prefer is the author's domain. If a message has more than MaxSignatures
	// signatures, those of this domain are verified first. Then come those of
	// domains above or below it, and then those of domains with the same parent.
	Prefer dns.Name
	// Cache is shared with other messages. If it is nil, nothing is shared.
	Cache *Cache
}

// MaxRSABits is the largest RSA key that is accepted.
const MaxRSABits = 8192

// The defaults, and the smallest RSA key that a configuration can allow.
const (
	defaultMaxSignatures = 10
	defaultSkew          = 5 * time.Minute
	rfc8301MinRSABits    = 1024
)

// WithDefaults returns the options with every zero value replaced by its
// default.
func (o Options) WithDefaults() Options {
	if o.MaxSignatures <= 0 {
		o.MaxSignatures = defaultMaxSignatures
	}
	o.MinRSABits = max(o.MinRSABits, rfc8301MinRSABits)
	if o.BodyLength == "" {
		o.BodyLength = BodyLengthCovered
	}
	if o.Skew == 0 {
		o.Skew = defaultSkew
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	return o
}
