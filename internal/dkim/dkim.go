// Package dkim verifies DKIM signatures (RFC 6376, RFC 8301, RFC 8463,
// RFC 8616) on a message that streams by.
//
// A [Verifier] is made at the end of the header, starts its key lookups at
// once, takes the body in any chunks and is asked for its results at the end:
//
//	v := dkim.NewVerifier(header, dkim.Options{Now: now})
//	v.Start(ctx, resolver)
//	v.Write(chunk) // as often as chunks come
//	signatures := v.Finish(ctx)
//
// The body is never held: whatever the number of signatures, one SHA-256 runs
// for each body canonicalization. What signatures share — the index of the
// header, body hashes, key lookups — is a [Message], which package arc uses
// for the same message.
package dkim

import (
	"time"

	"sekimori/internal/dns"
)

// Result is the outcome for one signature, in the words of RFC 8601 §2.7.1.
type Result string

// The results. None is for callers: a message without signatures has no
// Signature to carry it.
const (
	None      Result = "none"
	Pass      Result = "pass"
	Fail      Result = "fail"      // the signature does not match, or is expired
	Policy    Result = "policy"    // not acceptable here: weak key, uncovered body, too many
	Neutral   Result = "neutral"   // could not be judged fairly, see ReasonNotVerifiable
	TempError Result = "temperror" // DNS trouble: may verify later
	PermError Result = "permerror" // malformed, no usable key
)

// Reason says why a result is not pass; it is stable, fit for a metric label.
type Reason string

// The reasons. DNS failures are "dns_" and the kind of [dns.Error], such as
// "dns_timeout"; those of a permanent kind, "dns_loop" and "dns_too_large", are
// a permerror, the others a temperror.
const (
	ReasonBodyHash          Reason = "body_hash_mismatch"
	ReasonSignature         Reason = "signature_mismatch"
	ReasonNotVerifiable     Reason = "not_verifiable_as_received" // the MTA cut or changed a signed field
	ReasonSyntax            Reason = "syntax"
	ReasonMissingTag        Reason = "missing_tag"
	ReasonVersion           Reason = "version"
	ReasonAlgorithm         Reason = "algorithm"
	ReasonAlgorithmSHA1     Reason = "algorithm_sha1"
	ReasonCanonicalization  Reason = "canonicalization"
	ReasonQueryMethod       Reason = "query_method"
	ReasonDomain            Reason = "domain"          // d= or s= is no domain name
	ReasonDomainMismatch    Reason = "domain_mismatch" // i= outside of d=
	ReasonFromNotSigned     Reason = "from_not_signed"
	ReasonFromMissing       Reason = "from_missing"
	ReasonMultipleFrom      Reason = "multiple_from"
	ReasonTooManyHeaders    Reason = "too_many_headers"
	ReasonTooManySignatures Reason = "too_many_signatures"
	ReasonExpired           Reason = "expired"
	ReasonBodyLength        Reason = "body_length"        // l= leaves body octets uncovered
	ReasonBeyondBody        Reason = "length_beyond_body" // l= says more than there is
	ReasonKeyNotFound       Reason = "key_not_found"
	ReasonKeyRevoked        Reason = "key_revoked"
	ReasonKeySyntax         Reason = "key_syntax"
	ReasonKeyType           Reason = "key_type"          // k= does not fit a=
	ReasonKeyHash           Reason = "key_hash_mismatch" // h= of the key lacks sha256
	ReasonKeyService        Reason = "key_service"       // s= of the key lacks email
	ReasonStrictIdentity    Reason = "strict_identity"   // t=s and i= in a subdomain
	ReasonWeakKey           Reason = "weak_key"          // too few bits, or anyone can sign
	ReasonLargeKey          Reason = "large_key"         // too many bits
	ReasonWorkLimit         Reason = "work_limit"        // more arithmetic than a message may take
	ReasonDroppedField      Reason = "dropped_field"     // MTAs remove a signed field before we see it
	ReasonLeadingSpace      Reason = "leading_space"     // the MTA does not show how the values began
	ReasonInternal          Reason = "internal_error"    // a panic, caught
	reasonDNS               Reason = "dns_"              // completed by the kind
)

// Error is why one step went wrong: the result it leads to, the stable reason
// and a sentence for people.
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

// Signature is one DKIM-Signature field and what became of it.
type Signature struct {
	Result Result `json:"result"`
	Reason Reason `json:"reason,omitempty"` // "" for pass
	Detail string `json:"detail,omitempty"` // for people; never the sender's raw text

	// Field is the index of the signature in the header given to NewVerifier.
	Field int `json:"field"`

	// What the signature says; as much as could be read if it is malformed.
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

	// What was found.
	Uncovered int64  `json:"uncovered,omitempty"` // octets of the canonical body past l=
	KeyType   string `json:"key_type,omitempty"`  // "rsa" or "ed25519"
	KeyBits   int    `json:"key_bits,omitempty"`
	// Ahead says that t= lies ahead of our clock by more than the skew. It
	// changes nothing in Result: RFC 6376 §3.5 lets a verifier ignore such a
	// signature, but nobody gains anything by one, and it is the signer's clock
	// or time zone that is wrong.
	Ahead bool `json:"ahead,omitempty"`
	// Testing is the key's t=y. It changes nothing in Result: RFC 6376 §3.6.1
	// asks to treat such mail as unsigned mail, not better and not worse.
	Testing bool `json:"testing,omitempty"`
	// KeyAuthenticated says that the resolver validated the key by DNSSEC.
	KeyAuthenticated bool `json:"key_authenticated,omitempty"`
}

// BodyLengthPolicy is what becomes of a signature that verifies and has l=.
type BodyLengthPolicy string

// The policies for l= (RFC 6376 §8.2).
const (
	// BodyLengthCovered passes if l= covers the whole body, else "policy".
	BodyLengthCovered BodyLengthPolicy = "covered"
	// BodyLengthAccept passes whatever follows the signed part.
	BodyLengthAccept BodyLengthPolicy = "accept"
	// BodyLengthFail fails every signature with l=.
	BodyLengthFail BodyLengthPolicy = "fail"
)

// Options are local policy. The zero value is usable.
type Options struct {
	// MaxSignatures is how many signatures are verified (RFC 6376 §6.1 allows
	// a limit); 0 means 10. The rest are "policy", too_many_signatures.
	MaxSignatures int
	// MinRSABits is the smallest RSA key accepted; at least 1024 (RFC 8301
	// §3.2), which 0 means.
	MinRSABits int
	// MaxRSABits is the largest RSA key worked with; 0 means 8192.
	MaxRSABits int
	// BodyLength is the policy for l=; "" means covered.
	BodyLength BodyLengthPolicy
	// Now is the time for t= and x=; the zero time means time.Now().
	Now time.Time
	// Skew is how far clocks may differ; 0 means five minutes, less than 0
	// means not at all.
	Skew time.Duration
	// ReturnPath is the envelope's sender in angle brackets, for signatures
	// over a Return-Path field, which MTAs remove; "" if it is not known.
	ReturnPath string
	// LeadingSpaceUnknown says that the MTA does not show whether a space
	// stood between the colon of a field and its value, and that the values of
	// the header have one in any case.
	LeadingSpaceUnknown bool
	// Prefer is the author's domain: its signatures are verified first when
	// there are more than MaxSignatures, then those of domains above or below.
	Prefer dns.Name
	// Cache is shared with other messages; nil shares nothing.
	Cache *Cache
}

// Defaults and the floor below which no configuration goes.
const (
	defaultMaxSignatures = 10
	defaultMaxRSABits    = 8192
	defaultSkew          = 5 * time.Minute
	rfc8301MinRSABits    = 1024
)

// WithDefaults replaces zero values by what they mean.
func (o Options) WithDefaults() Options {
	if o.MaxSignatures <= 0 {
		o.MaxSignatures = defaultMaxSignatures
	}
	o.MinRSABits = max(o.MinRSABits, rfc8301MinRSABits)
	if o.MaxRSABits <= 0 {
		o.MaxRSABits = defaultMaxRSABits
	}
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
