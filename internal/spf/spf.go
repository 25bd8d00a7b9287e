// Package spf evaluates the Sender Policy Framework (RFC 7208, with RFC 8616
// for internationalized mail): check_host() for the HELO and the MAIL FROM
// identity. It takes a context, a [dns.Resolver] and values, and returns a
// [Check]. Package policy decides what is done about the result.
//
// The context's deadline is the time limit of RFC 7208 §4.6.4. It should allow at
// least 20 seconds. Once the deadline has passed, the result is temperror.
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
	Neutral   Result = "neutral"   // the domain says nothing about this client
	Pass      Result = "pass"      // the client is authorized
	Fail      Result = "fail"      // the client is not authorized
	SoftFail  Result = "softfail"  // the client is probably not authorized
	TempError Result = "temperror" // a later attempt may give a result
	PermError Result = "permerror" // the published records cannot be interpreted
)

// Identity says which identity was checked (RFC 7208 §2.3, §2.4), in the words of
// Received-SPF (§9.1).
type Identity string

// The two identities.
const (
	MailFrom Identity = "mailfrom"
	HELO     Identity = "helo"
)

// Reason says, in one stable word, why a result is none, temperror or
// permerror.
type Reason string

// The reasons. Check.Problem has the details.
const (
	// Reasons for the result none.
	ReasonInvalidDomain Reason = "invalid-domain" // the domain is malformed, an address literal or a single label (RFC 7208 §4.3)
	ReasonNoAddress     Reason = "no-address"     // the client has no IP address
	ReasonPrivateClient Reason = "private_client" // PrivateClient is true, and Args.InternetOnly was set
	ReasonNoRecord      Reason = "no-record"      // the domain has no SPF record (RFC 7208 §4.5)
	// Reasons for the result permerror.
	ReasonMultipleRecords Reason = "multiple-records" // the domain has several SPF records (RFC 7208 §4.5)
	ReasonRecordTooLong   Reason = "record-too-long"  // the record is longer than MaxRecordLen
	ReasonSyntax          Reason = "syntax"           // the record has a syntax error (RFC 7208 §4.6)
	ReasonLookupLimit     Reason = "lookup-limit"     // more than MaxLookups terms need DNS lookups (RFC 7208 §4.6.4)
	ReasonVoidLimit       Reason = "void-limit"       // more than MaxVoidLookups lookups found nothing (RFC 7208 §4.6.4)
	ReasonMXLimit         Reason = "mx-limit"         // the target of mx has more than MaxHosts hosts (RFC 7208 §4.6.4)
	ReasonIncludeNone     Reason = "include-none"     // the included domain has no record (RFC 7208 §5.2)
	ReasonRedirectNone    Reason = "redirect-none"    // the target of redirect has no record (RFC 7208 §6.1)
	ReasonDNSLoop         Reason = "dns-loop"         // the aliases of a name lead in a circle
	ReasonDNSTooLarge     Reason = "dns-too-large"    // an answer is too large to use
	// Reasons for the result temperror.
	ReasonDNS        Reason = "dns"         // a DNS query failed (RFC 7208 §4.4)
	ReasonDNSBudget  Reason = "dns-budget"  // the resolver had no slot for the query: see dns.KindBudget
	ReasonTimeLimit  Reason = "time-limit"  // the context has ended (RFC 7208 §4.6.4)
	ReasonQueryLimit Reason = "query-limit" // the check needs more than MaxQueries queries
)

// Limits on the work that a domain can cause.
const (
	// MaxLookups is the maximum number of terms with DNS lookups that one check
	// evaluates (RFC 7208 §4.6.4): include, a, mx, ptr, exists, redirect, and %{p}.
	MaxLookups = 10
	// MaxVoidLookups is the maximum number of lookups without records. Only lookups
	// that count for MaxLookups are counted (RFC 7208 §4.6.4).
	MaxVoidLookups = 2
	// MaxHosts is the maximum number of names of one MX or PTR answer that are
	// looked up (RFC 7208 §4.6.4).
	MaxHosts = 10
	// MaxQueries is the maximum number of DNS queries of one check. A record that
	// keeps to RFC 7208 §4.6.4 needs at most 123 queries: for the record, for ten
	// mx with ten hosts each, for an explanation, and for the client's PTR with ten
	// names.
	MaxQueries = 1 + MaxLookups*(1+MaxHosts) + 1 + 1 + MaxHosts
	// MaxRecordLen is the length of the longest record that is evaluated, in
	// octets. RFC 7208 §3.4 asks publishers to stay below 450, and records in use
	// are far shorter than MaxRecordLen. A bound is needed because a TXT record may
	// have 65,535 octets.
	MaxRecordLen = 8192
	// MaxExplanationLen is the length of the longest explanation that is returned,
	// in octets. An SMTP reply line has at most 512 octets (RFC 5321 §4.5.3.1.5),
	// and the reply code and the words of this program are in the same line (RFC
	// 7208 §6.2).
	MaxExplanationLen = 400
	// MaxTraceSteps is the maximum number of steps in Check.Trace. Eleven records
	// of MaxRecordLen octets could have some 20,000 terms.
	MaxTraceSteps = 1000
)

// Args are the arguments of check_host() (RFC 7208 §4.1) and the values that its
// macros need. Zero values are usable.
type Args struct {
	// IP is the client's address. An IPv4-mapped IPv6 address counts as IPv4
	// (RFC 7208 §5). With the zero Addr (a client on a local socket) the result is
	// none.
	IP netip.Addr
	// If InternetOnly is set, a client for which PrivateClient returns true gets
	// the result none without a lookup, because it is not the client that sent the
	// message to this site (RFC 7208 §2.3).
	InternetOnly bool
	// HELO is the argument of HELO or EHLO as the client gave it.
	HELO string
	// MailFrom is the reverse-path as local-part@domain without angle brackets,
	// or "" for the null reverse-path. If it has no local part or no "@", the
	// local part is postmaster (RFC 7208 §4.3).
	MailFrom string
	// Receiver is the name of the host that checks, the value of %{r}. If Receiver
	// is "", the value is "unknown".
	Receiver dns.Name
	// Now is the time, the value of %{t}.
	Now time.Time
	// LookAhead is the maximum number of DNS questions that are asked before the
	// evaluation needs their answers. Asking early makes the check faster and does
	// not change its result. If LookAhead is 0, or if Expect of the resolver
	// returns false, each question is asked only when its answer is needed.
	LookAhead int
}

// Check is the outcome of checking one identity.
type Check struct {
	Identity Identity `json:"identity"`
	Result   Result   `json:"result"`
	// Domain is the domain that was checked. DMARC compares it with the author's
	// domain. It is "" if the identity has no valid domain.
	Domain dns.Name `json:"domain,omitempty"`
	// Sender is check_host()'s <sender>, local-part@domain. The local part has
	// the octets that the client sent.
	Sender string `json:"sender,omitempty"`
	// NullSender says that the reverse-path was null, so Domain is the HELO domain
	// (RFC 7208 §2.4).
	NullSender bool `json:"null_sender,omitempty"`
	// Mechanism is the directive that matched, as its publisher wrote it, such as
	// "-all". After a redirect it is a directive in the record of the redirect's
	// target. It is "default" if no directive matched (RFC 7208 §9.1), and "" if
	// Result is none, temperror or permerror.
	Mechanism string `json:"mechanism,omitempty"`
	// Record is the SPF record of Domain, with the octets as published. It is "" if
	// there was none or more than one, or if the record is too long.
	Record string `json:"record,omitempty"`
	// Explanation is the text that the publisher wants in the SMTP reply after a
	// fail (RFC 7208 §6.2), or "" if there is none. The publisher may be an
	// attacker. The text is printable US-ASCII of at most MaxExplanationLen octets.
	Explanation string `json:"explanation,omitempty"`
	// Reason and Problem say why Result is none, temperror or permerror.
	// Problem is printable ASCII.
	Reason  Reason `json:"reason,omitempty"`
	Problem string `json:"problem,omitempty"`
	// DNSError is the lookup that failed, if Reason is about DNS.
	DNSError *dns.Error `json:"-"`
	// Lookups, VoidLookups and Queries say how much of MaxLookups, MaxVoidLookups
	// and MaxQueries the check has used.
	Lookups     int `json:"lookups"`
	VoidLookups int `json:"void_lookups"`
	Queries     int `json:"queries"`
	// Ahead is the number of DNS questions that were asked before their answers
	// were needed (see Args.LookAhead). Unneeded is the number of these questions
	// whose answers were not needed in the end.
	Ahead    int `json:"-"`
	Unneeded int `json:"-"`
	// Trace has the outcomes of the terms that were evaluated, in order. It has at
	// most MaxTraceSteps steps.
	Trace []Step `json:"trace,omitempty"`
}

// Outcome is how one step of the evaluation ended.
type Outcome string

// The outcomes of a Step.
const (
	OutcomeRecord    Outcome = "record"    // the domain's record was found
	OutcomeMatch     Outcome = "match"     // the directive matched
	OutcomeNoMatch   Outcome = "no match"  // the directive did not match
	OutcomeEnter     Outcome = "enter"     // an include or redirect begins: the steps of its target follow
	OutcomeError     Outcome = "error"     // the check ends here
	OutcomeDefault   Outcome = "default"   // no directive matched and there is no redirect
	OutcomeExplained Outcome = "explained" // exp gave an explanation
	OutcomeIgnored   Outcome = "ignored"   // exp gave no explanation
	OutcomeTruncated Outcome = "truncated" // MaxTraceSteps was reached: later steps are missing
)

// Step is one step of a check. Term and Detail are printable ASCII; other octets
// are escaped as in a Go string.
type Step struct {
	Domain  dns.Name `json:"domain"`         // the domain whose record is evaluated
	Term    string   `json:"term,omitempty"` // as written; "" for the record itself
	Outcome Outcome  `json:"outcome"`
	Detail  string   `json:"detail,omitempty"`
	Depth   int      `json:"depth"` // 0 for the domain that is checked, and one more inside each include or redirect
}

// CheckHELO checks the HELO identity (RFC 7208 §2.3). If the argument is not a
// valid domain of at least two labels, for example an address literal, the result
// is none without a lookup.
func CheckHELO(ctx context.Context, r dns.Resolver, a Args) Check {
	c := Check{Identity: HELO}
	check(ctx, r, a, &c, postmaster, a.HELO)
	return c
}

// CheckMailFrom checks the MAIL FROM identity (RFC 7208 §2.4). For a null
// reverse-path it checks postmaster at the HELO domain and sets Check.NullSender.
func CheckMailFrom(ctx context.Context, r dns.Resolver, a Args) Check {
	c := Check{Identity: MailFrom}
	local, domain := "", a.MailFrom
	// The last "@" counts: a quoted local part may have others (RFC 5321 §4.1.2).
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

// postmaster replaces a missing local part (RFC 7208 §4.3).
const postmaster = "postmaster"
