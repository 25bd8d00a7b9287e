// Package dns holds the types that every evaluator shares with the resolver: a
// validated [Name], the [Answer] to one question, the [Error] that says why there
// is no answer, and [Resolver], the interface between them.
//
// NXDOMAIN and NODATA are answers, not errors: SPF counts them as void lookups
// (RFC 7208 §4.6.4) and DMARC's np tag needs the difference (RFC 9989 §4.7).
package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Type is a resource record type (RFC 1035 §3.2.2).
type Type uint16

// The types that a verifier asks for.
const (
	TypeA     Type = 1
	TypeNS    Type = 2
	TypeCNAME Type = 5
	TypePTR   Type = 12
	TypeMX    Type = 15
	TypeTXT   Type = 16
	TypeAAAA  Type = 28
)

// String returns the type's mnemonic, or RFC 3597's TYPEnnn.
func (t Type) String() string {
	switch t {
	case TypeA:
		return "A"
	case TypeNS:
		return "NS"
	case TypeCNAME:
		return "CNAME"
	case TypePTR:
		return "PTR"
	case TypeMX:
		return "MX"
	case TypeTXT:
		return "TXT"
	case TypeAAAA:
		return "AAAA"
	}
	return fmt.Sprintf("TYPE%d", uint16(t))
}

// MarshalText makes a Type appear by its mnemonic in JSON.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Status says whether the name of an answer exists.
type Status uint8

const (
	// NoError means that the name exists. If it has no records of the type asked for, the answer is
	// called NODATA (RFC 2308 §2.2).
	NoError Status = iota
	// NXDomain means that neither the name nor anything below it exists
	// (RFC 8020).
	NXDomain
)

// String returns the RCODE's usual spelling.
func (s Status) String() string {
	if s == NXDomain {
		return "NXDOMAIN"
	}
	return "NOERROR"
}

// MarshalText makes a Status appear by its name in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Record is the data of one resource record. Its type decides which fields are set.
type Record struct {
	Addr       netip.Addr `json:"addr,omitzero"`        // A, AAAA
	Host       Name       `json:"host,omitempty"`       // MX, PTR, NS, CNAME
	Preference uint16     `json:"preference,omitempty"` // MX
	// Text is a TXT record's character-strings joined without a separator, as
	// raw octets (RFC 7208 §3.3, RFC 6376 §3.6.2.2, RFC 9989 §4.5).
	Text string `json:"text,omitempty"`
}

// Answer is a definite answer to one question: the records of the type asked for, or the statement
// that there are none.
type Answer struct {
	Name   Name   `json:"name"` // the name and type asked for
	Type   Type   `json:"type"`
	Status Status `json:"status"`
	// Canonical is the owner name after all CNAMEs were followed. It equals Name if there was no
	// CNAME. If Status is NXDomain and Canonical differs from Name, Name is a dangling alias: Name
	// itself exists.
	Canonical Name     `json:"canonical,omitempty"`
	Records   []Record `json:"records,omitempty"` // shared with the cache; do not modify
	// TTL is how long the answer may be used from now on.
	TTL           time.Duration `json:"ttl_ns"`
	Authenticated bool          `json:"ad,omitempty"`     // AD bit, if it came from a trusted upstream
	Cached        bool          `json:"cached,omitempty"` // served from the cache
	Stale         bool          `json:"stale,omitempty"`  // served past its TTL (RFC 8767)
	Server        string        `json:"server,omitempty"` // address of the server that answered
}

// Exists reports whether the name asked for exists: it has a record of any type, or there is a name
// below it (RFC 8020, RFC 6604 §3).
func (a Answer) Exists() bool {
	return a.Status == NoError || (a.Canonical != "" && a.Canonical != a.Name)
}

// Void reports a void lookup: NXDOMAIN or NODATA (RFC 7208 §4.6.4).
func (a Answer) Void() bool { return len(a.Records) == 0 }

// Bounds on an answer. No verifier can use a larger answer, so such an answer is a permanent
// failure.
const (
	// MaxRecords bounds the records of each section. No record set that a verifier can use is
	// larger: RFC 7208 §4.6.4, for example, allows it to use at most 10 MX or PTR records.
	MaxRecords = 256
	// MaxTextOctets bounds the TXT data of one answer. The longest DKIM key worth verifying needs 2
	// KiB. The larger bound allows for names with many TXT records.
	MaxTextOctets = 32 << 10
	// MaxChain bounds the CNAMEs of one answer. RFC 1034 §3.6.2 advises against
	// chains; resolvers follow 8 to 16 CNAMEs.
	MaxChain = 8
)

// ErrorKind says what went wrong with a lookup.
type ErrorKind uint8

// The kinds of failure. KindLoop and KindTooLarge are permanent, the other kinds are temporary.
const (
	KindTimeout   ErrorKind = iota + 1 // no valid answer in time
	KindServFail                       // RCODE SERVFAIL, or any RCODE not named here
	KindRefused                        // RCODE REFUSED
	KindNetwork                        // the transport failed
	KindMalformed                      // the answer could not be understood
	KindBudget                         // a limit of this daemon: no slot became free in time, or the message asked too many questions
	KindCanceled                       // the caller stopped waiting
	KindLoop                           // a loop of aliases, or more than MaxChain of them
	KindTooLarge                       // a good answer that exceeds a bound
)

// String returns the kind as it appears in logs and traces.
func (k ErrorKind) String() string {
	switch k {
	case KindTimeout:
		return "timeout"
	case KindServFail:
		return "servfail"
	case KindRefused:
		return "refused"
	case KindNetwork:
		return "network"
	case KindMalformed:
		return "malformed"
	case KindBudget:
		return "budget"
	case KindCanceled:
		return "canceled"
	case KindLoop:
		return "loop"
	case KindTooLarge:
		return "too_large"
	}
	return unknownKind
}

// unknownKind is the text for a number that is not a kind.
const unknownKind = "unknown"

// Error says why a lookup has no answer.
type Error struct {
	Kind   ErrorKind
	Name   Name
	Type   Type
	Server string // the server asked last, "" if there was none
	Err    error  // cause, may be nil
}

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("dns: %s %s: %s", e.Name, e.Type, e.Kind)
	if e.Server != "" {
		s += " (server " + e.Server + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Permanent reports whether the lookup will fail in the same way until the owner of the name
// changes its records: the servers did answer, but the answer cannot be used.
func (e *Error) Permanent() bool { return e.Kind == KindLoop || e.Kind == KindTooLarge }

// Permanent reports whether err is the permanent failure of a lookup.
func Permanent(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Permanent()
}

// AskerGaveUp reports whether the caller or a limit of this daemon ended the lookup. Such an error
// says nothing about the name or its servers.
func (e *Error) AskerGaveUp() bool { return e.Kind == KindBudget || e.Kind == KindCanceled }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
