// Package spf evaluates the Sender Policy Framework (RFC 7208, with RFC 8616
// for internationalized mail): check_host() for the HELO and the MAIL FROM
// identity. It takes a context, a [dns.Resolver] and values, and returns a
// [Check]; what to do about the result is somebody else's policy.
//
// The context's deadline is the time limit of RFC 7208 §4.6.4, which should
// allow at least 20 seconds; when it passes, the result is temperror.
package spf

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/dns"
)

// Result is one of the seven results of check_host() (RFC 7208 §2.6).
type Result string

// The results of RFC 7208 §2.6.
const (
	None      Result = "none"      // no valid domain, or no record
	Neutral   Result = "neutral"   // the domain states nothing about this client
	Pass      Result = "pass"      // the client is authorized
	Fail      Result = "fail"      // the client is not authorized
	SoftFail  Result = "softfail"  // the client is probably not authorized
	TempError Result = "temperror" // a later try may give a result
	PermError Result = "permerror" // the published records cannot be interpreted
)

// Identity is what was checked (RFC 7208 §2.3, §2.4), as Received-SPF spells
// it (§9.1).
type Identity string

// The two identities.
const (
	MailFrom Identity = "mailfrom"
	HELO     Identity = "helo"
)

// Reason says, in one stable word, why a result is none, temperror or
// permerror.
type Reason string

// The reasons; Check.Problem has the particulars.
const (
	// Results of none.
	ReasonInvalidDomain Reason = "invalid-domain" // malformed, a literal or a single label (RFC 7208 §4.3)
	ReasonNoAddress     Reason = "no-address"     // the client has no IP address
	ReasonPrivateClient Reason = "private_client" // Args.InternetOnly, and PrivateClient holds
	ReasonNoRecord      Reason = "no-record"      // RFC 7208 §4.5
	// Results of permerror.
	ReasonMultipleRecords Reason = "multiple-records" // RFC 7208 §4.5
	ReasonRecordTooLong   Reason = "record-too-long"  // over MaxRecordLen
	ReasonSyntax          Reason = "syntax"           // RFC 7208 §4.6
	ReasonLookupLimit     Reason = "lookup-limit"     // RFC 7208 §4.6.4
	ReasonVoidLimit       Reason = "void-limit"       // RFC 7208 §4.6.4
	ReasonMXLimit         Reason = "mx-limit"         // RFC 7208 §4.6.4
	ReasonIncludeNone     Reason = "include-none"     // included domain has no record (RFC 7208 §5.2)
	ReasonRedirectNone    Reason = "redirect-none"    // redirected domain has no record (RFC 7208 §6.1)
	ReasonDNSLoop         Reason = "dns-loop"         // an alias loop stands where an answer is needed
	ReasonDNSTooLarge     Reason = "dns-too-large"    // an answer is larger than anybody can use
	// Results of temperror.
	ReasonDNS        Reason = "dns"         // RFC 7208 §4.4
	ReasonDNSBudget  Reason = "dns-budget"  // the resolver had no room for the question: see dns.KindBudget
	ReasonTimeLimit  Reason = "time-limit"  // RFC 7208 §4.6.4
	ReasonQueryLimit Reason = "query-limit" // over Args.MaxQueries
)

// Limits on what a domain can make its checkers do.
const (
	// MaxLookups is how many terms with DNS lookups one check may evaluate
	// (RFC 7208 §4.6.4): include, a, mx, ptr, exists, redirect, and %{p}.
	MaxLookups = 10
	// MaxVoidLookups is how many of these may find nothing (RFC 7208 §4.6.4).
	MaxVoidLookups = 2
	// MaxHosts is how many names of one MX or PTR answer have their addresses
	// looked up (RFC 7208 §4.6.4).
	MaxHosts = 10
	// DefaultMaxQueries bounds all DNS questions of one check. Nothing that
	// keeps to RFC 7208 §4.6.4 can reach it: a record, ten mx with ten hosts
	// each, an explanation, and the client's PTR with ten names make 123.
	DefaultMaxQueries = 1 + MaxLookups*(1+MaxHosts) + 1 + 1 + MaxHosts
	// MaxRecordLen is the longest record evaluated, in octets. RFC 7208 §3.4
	// asks publishers for 450; nothing in use comes near the bound, which is
	// here because a TXT record may hold 65,535.
	MaxRecordLen = 8192
	// MaxExplanationLen is the longest explanation returned, in octets: it has
	// to share a 512-octet reply line (RFC 5321 §4.5.3.1.5) with the code and
	// our own words (RFC 7208 §6.2).
	MaxExplanationLen = 400
	// MaxTraceSteps bounds Check.Trace; eleven records of MaxRecordLen octets
	// could hold some 20,000 terms.
	MaxTraceSteps = 1000
)

// Args are the arguments of check_host() (RFC 7208 §4.1) and what its macros
// need. Zero values are usable.
type Args struct {
	// IP is the client's address. An IPv4-mapped IPv6 address counts as IPv4
	// (RFC 7208 §5); the zero Addr (a client on a local socket) gives none.
	IP netip.Addr
	// InternetOnly says that a client for whose address PrivateClient holds
	// gives none without a lookup: the address is not that of the SMTP client
	// that RFC 7208 §2.3 speaks of.
	InternetOnly bool
	// HELO is the argument of HELO or EHLO as the client gave it.
	HELO string
	// MailFrom is the reverse-path as local-part@domain without angle
	// brackets, "" for the null reverse-path. Without a local part or an "@"
	// the local part is postmaster (RFC 7208 §4.3).
	MailFrom string
	// Receiver is the name of the host that checks, %{r}; "" is "unknown".
	Receiver dns.Name
	// Now is %{t}.
	Now time.Time
	// MaxQueries bounds the DNS questions of the check; 0 is
	// DefaultMaxQueries. When it is exceeded the result is temperror: the
	// bound is local, not the publisher's mistake.
	MaxQueries int
}

// Check is the outcome of checking one identity.
type Check struct {
	Identity Identity `json:"identity"`
	Result   Result   `json:"result"`
	// Domain is the domain checked, on which DMARC aligns; "" if the identity
	// holds no valid domain.
	Domain dns.Name `json:"domain,omitempty"`
	// Sender is check_host()'s <sender>, local-part@domain; the local part is
	// raw octets as the client sent them.
	Sender string `json:"sender,omitempty"`
	// NullSender says that MAIL FROM was null, so that the domain is HELO's
	// (RFC 7208 §2.4).
	NullSender bool `json:"null_sender,omitempty"`
	// Mechanism is the directive that matched as its publisher wrote it, such
	// as "-all"; after a redirect, the redirected record's. "default" when a
	// record was evaluated and nothing matched (RFC 7208 §9.1); "" for none
	// and the errors.
	Mechanism string `json:"mechanism,omitempty"`
	// Record is Domain's SPF record, raw octets; "" if there was none, or
	// more than one.
	Record string `json:"record,omitempty"`
	// Explanation is what the publisher wants said with a fail: printable
	// US-ASCII, at most MaxExplanationLen octets; "" if there is none
	// (RFC 7208 §6.2). It is the words of a stranger.
	Explanation string `json:"explanation,omitempty"`
	// Reason and Problem say why Result is none, temperror or permerror.
	// Problem is printable ASCII.
	Reason  Reason `json:"reason,omitempty"`
	Problem string `json:"problem,omitempty"`
	// DNSError is the lookup that failed, where Reason is one of DNS.
	DNSError *dns.Error `json:"-"`
	// Lookups, VoidLookups and Queries are what the check has used of
	// MaxLookups, MaxVoidLookups and Args.MaxQueries.
	Lookups     int `json:"lookups"`
	VoidLookups int `json:"void_lookups"`
	Queries     int `json:"queries"`
	// Trace is what happened to every term evaluated, in order.
	Trace []Step `json:"trace,omitempty"`
}

// Outcome says what became of one step of the evaluation.
type Outcome string

// The outcomes of a Step.
const (
	OutcomeRecord    Outcome = "record"    // the domain's record was found
	OutcomeMatch     Outcome = "match"     // the directive matched
	OutcomeNoMatch   Outcome = "no match"  // it did not
	OutcomeEnter     Outcome = "enter"     // include or redirect: the target's steps follow
	OutcomeError     Outcome = "error"     // the check ends here
	OutcomeDefault   Outcome = "default"   // no directive matched and there is no redirect
	OutcomeExplained Outcome = "explained" // exp gave an explanation
	OutcomeIgnored   Outcome = "ignored"   // exp gave none
	OutcomeTruncated Outcome = "truncated" // MaxTraceSteps reached
)

// Step is one thing that happened during a check. Term and Detail are printable
// ASCII, other octets escaped as in a Go string.
type Step struct {
	Domain  dns.Name `json:"domain"`         // whose record is evaluated
	Term    string   `json:"term,omitempty"` // as written; "" for the record itself
	Outcome Outcome  `json:"outcome"`
	Detail  string   `json:"detail,omitempty"`
	Depth   int      `json:"depth"` // 0 for the domain checked, one more in each include or redirect
}

// CheckHELO checks the HELO identity (RFC 7208 §2.3). An argument that is not
// a valid domain of two labels or more, such as an address literal, gives none
// without a lookup.
func CheckHELO(ctx context.Context, r dns.Resolver, a Args) Check {
	c := Check{Identity: HELO}
	check(ctx, r, a, &c, postmaster, a.HELO)
	return c
}

// CheckMailFrom checks the MAIL FROM identity (RFC 7208 §2.4). A null
// reverse-path is checked as postmaster at the HELO domain, and Check.NullSender
// says so.
func CheckMailFrom(ctx context.Context, r dns.Resolver, a Args) Check {
	c := Check{Identity: MailFrom}
	local, domain := "", a.MailFrom
	// The last "@": a quoted local part may hold others (RFC 5321 §4.1.2).
	if at := strings.LastIndexByte(a.MailFrom, '@'); at >= 0 {
		local, domain = a.MailFrom[:at], a.MailFrom[at+1:]
	}
	if a.MailFrom == "" {
		c.NullSender, domain = true, a.HELO
	}
	if local == "" {
		local = postmaster // RFC 7208 §4.3
	}
	check(ctx, r, a, &c, local, domain)
	return c
}

// postmaster stands in for a missing local part (RFC 7208 §4.3).
const postmaster = "postmaster"
