package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
)

// evaluation is the state of one check. All includes and redirects of the check
// share it.
type evaluation struct {
	ctx      context.Context
	resolver dns.Resolver
	args     Args
	ip       netip.Addr // the client's address; an IPv4-mapped address was converted to IPv4
	local    string     // local part of <sender>
	origin   dns.Name   // domain of <sender>, the value of %{o}: it stays the same in includes and redirects
	check    *Check
	// maxQueries is MaxQueries, except in tests. A check that needs more queries ends
	// with temperror and not with permerror, because this package sets the limit and the
	// publisher made no mistake.
	maxQueries int

	ptr   *ptrNames  // nil until the client's PTR records were looked up
	ahead *lookAhead // nil if each question is asked only when the evaluation needs the answer
}

// verdict is the result of check_host() for one domain. record and domain are
// the record that gave the result and the name that it is published at. If the
// result is fail, the record's exp explains it.
type verdict struct {
	result    Result
	mechanism string
	domain    dns.Name
	record    *Record
}

// halt is a result that ends the whole check: none, temperror or permerror.
type halt struct {
	result  Result
	reason  Reason
	problem string
	dnsErr  *dns.Error
}

// check evaluates the identity local@domain and writes the outcome to c.
func check(ctx context.Context, r dns.Resolver, a Args, c *Check, local, domain string) {
	ip := a.IP.Unmap().WithZone("") // RFC 7208 §5
	e := &evaluation{ctx: ctx, resolver: r, args: a, ip: ip, local: local, check: c, maxQueries: MaxQueries}
	e.run(domain)
}

// run evaluates the identity local@domain.
func (e *evaluation) run(domain string) {
	c, local := e.check, e.local
	c.Sender = local + "@" + domain
	name, err := parseIdentity(domain)
	if err != nil {
		e.end(&halt{result: None, reason: ReasonInvalidDomain, problem: err.Error()})
		return
	}
	c.Domain, e.origin = name, name
	c.Sender = local + "@" + string(name)
	if !e.ip.IsValid() {
		e.end(&halt{result: None, reason: ReasonNoAddress, problem: "the client has no IP address"})
		return
	}
	if e.args.InternetOnly && PrivateClient(e.ip) {
		e.end(&halt{result: None, reason: ReasonPrivateClient, problem: e.ip.String() + " is not the address of a client on the Internet"})
		return
	}
	defer e.beginAhead(name)()
	v, h := e.checkHost(name, 0)
	if h != nil {
		e.end(h)
		return
	}
	c.Result, c.Mechanism = v.result, v.mechanism
	if v.result == Fail && v.record.Exp != nil {
		c.Explanation = e.explain(v.domain, v.record.Exp)
	}
}

// parseIdentity refuses domains that RFC 7208 §4.3 calls malformed: address
// literals, single labels, and names that do not fit a DNS query. It also
// refuses an IP address without brackets, which many clients send in HELO.
func parseIdentity(domain string) (dns.Name, error) {
	name, err := dns.ParseHostname(domain)
	if err != nil {
		return "", fmt.Errorf("%s is not a fully qualified domain name", quoted(domain))
	}
	if _, err := netip.ParseAddr(string(name)); err == nil {
		return "", fmt.Errorf("%s is an address, not a domain name", quoted(domain))
	}
	return name, nil
}

// end records that the check ended without a verdict.
func (e *evaluation) end(h *halt) {
	e.check.Result, e.check.Reason, e.check.DNSError = h.result, h.reason, h.dnsErr
	e.check.Problem = printable.Escaped(h.problem)
}

// checkHost is check_host() (RFC 7208 §4) for domain. If domain has no record, the halt
// has the result none. For include and redirect, the method nested turns this halt into
// a permerror.
func (e *evaluation) checkHost(domain dns.Name, depth int) (verdict, *halt) {
	text, h := e.fetchRecord(domain, depth)
	if h != nil {
		return verdict{}, h
	}
	rec, err := ParseRecord(text)
	if err != nil { // a *SyntaxError, because fetchRecord has refused everything else
		var syntax *SyntaxError
		if errors.As(err, &syntax) {
			e.trace(Step{Domain: domain, Term: syntax.Term, Outcome: OutcomeError, Detail: err.Error(), Depth: depth})
		}
		return verdict{}, &halt{result: PermError, reason: ReasonSyntax, problem: string(domain) + ": " + err.Error()}
	}
	e.ahead.record(rec, domain, e.check.Lookups)
	for i := range rec.Directives {
		d := &rec.Directives[i]
		// This recursion is bounded, because each include counts towards MaxLookups.
		matched, h := e.match(d, domain, depth)
		if h != nil {
			return verdict{}, h
		}
		if matched {
			return verdict{result: d.Qualifier, mechanism: d.Text, domain: domain, record: rec}, nil
		}
	}
	if rec.Redirect != nil {
		// If the record has "all", this line is not reached, because "all" matches
		// every client. So the redirect of such a record is ignored, as RFC 7208 §5.1
		// asks.
		return e.redirect(rec.Redirect, domain, depth)
	}
	e.trace(Step{Domain: domain, Outcome: OutcomeDefault, Detail: "nothing matched", Depth: depth})
	return verdict{result: Neutral, mechanism: "default", domain: domain, record: rec}, nil // RFC 7208 §4.7
}

// fetchRecord looks up the SPF record of domain (RFC 7208 §4.4, §4.5). If there
// is no record, the halt has the result none.
func (e *evaluation) fetchRecord(domain dns.Name, depth int) (string, *halt) {
	ans, h := e.lookup(domain, dns.TypeTXT)
	if h != nil {
		e.trace(Step{Domain: domain, Outcome: OutcomeError, Detail: h.problem, Depth: depth})
		return "", h
	}
	text, n := recordText(ans)
	switch {
	case n == 0:
		h = &halt{result: None, reason: ReasonNoRecord, problem: fmt.Sprintf("%s has no SPF record (%s)", domain, ans.Status)}
	case n > 1:
		h = &halt{result: PermError, reason: ReasonMultipleRecords, problem: fmt.Sprintf("%s has %d SPF records", domain, n)}
	case len(text) > MaxRecordLen:
		h = &halt{result: PermError, reason: ReasonRecordTooLong,
			problem: fmt.Sprintf("%s has an SPF record over %d octets", domain, MaxRecordLen)}
	}
	if h != nil {
		e.trace(Step{Domain: domain, Outcome: OutcomeError, Detail: h.problem, Depth: depth})
		return "", h
	}
	if depth == 0 {
		e.check.Record = text
	}
	e.trace(Step{Domain: domain, Outcome: OutcomeRecord, Detail: text, Depth: depth})
	return text, nil
}

// recordText returns the SPF record in an answer for TXT (RFC 7208 §4.5), and the number
// of SPF records in the answer. If there are several, the result "text" is the first of
// them.
func recordText(ans dns.Answer) (text string, n int) {
	for _, r := range ans.Records {
		if isRecord(r.Text) {
			if n == 0 {
				text = r.Text
			}
			n++
		}
	}
	return text, n
}

// redirect evaluates the redirect modifier (RFC 7208 §6.1).
func (e *evaluation) redirect(m *Modifier, domain dns.Name, depth int) (verdict, *halt) {
	step := Step{Domain: domain, Term: m.Text, Depth: depth}
	target, noMatch, h := e.countedTarget(m.target, domain)
	switch {
	case matchesNothing(noMatch):
		// A mechanism with such a name would match nothing. For redirect this means that
		// the record counts as one without redirect, so the result is neutral.
		step.Outcome, step.Detail = OutcomeNoMatch, noMatch
		e.trace(step)
		return verdict{result: Neutral, mechanism: "default"}, nil
	case noMatch != "":
		h = &halt{result: PermError, reason: ReasonRedirectNone, problem: fmt.Sprintf("%s: %s: %s", domain, quoted(m.Text), noMatch)}
	}
	if h != nil {
		step.Outcome, step.Detail = OutcomeError, h.problem
		e.trace(step)
		return verdict{}, h
	}
	step.Outcome, step.Detail = OutcomeEnter, string(target)
	e.trace(step)
	v, h := e.nested(target, depth, ReasonRedirectNone)
	return v, h
}

// nested is check_host() for the target of include or redirect. If the target
// has no record, the result is permerror with the reason in "ifNone".
func (e *evaluation) nested(target dns.Name, depth int, ifNone Reason) (verdict, *halt) {
	if !strings.Contains(string(target), ".") { // RFC 7208 §4.3
		return verdict{}, &halt{result: PermError, reason: ifNone,
			problem: fmt.Sprintf("%s is not a multi-label domain name", quoted(string(target)))}
	}
	v, h := e.checkHost(target, depth+1)
	if h != nil && h.result == None {
		h.result, h.reason = PermError, ifNone
	}
	return v, h
}

// lookup sends one DNS query if the limits on time and number of queries allow
// it.
func (e *evaluation) lookup(name dns.Name, typ dns.Type) (dns.Answer, *halt) {
	if e.check.Queries >= e.maxQueries {
		return dns.Answer{}, &halt{result: TempError, reason: ReasonQueryLimit,
			problem: fmt.Sprintf("more than %d DNS queries", e.maxQueries)}
	}
	if e.ctx.Err() != nil {
		return dns.Answer{}, &halt{result: TempError, reason: ReasonTimeLimit, problem: e.ctx.Err().Error()}
	}
	e.check.Queries++
	e.ahead.inTurn(name, typ)
	ans, err := e.resolver.Lookup(e.ctx, name, typ)
	if err == nil {
		return ans, nil
	}
	h := &halt{result: TempError, reason: ReasonDNS, problem: fmt.Sprintf("%s %s: %v", name, typ, err)}
	if errors.As(err, &h.dnsErr) {
		h.problem = h.dnsErr.Error()
	}
	switch {
	case h.dnsErr != nil && h.dnsErr.Kind == dns.KindBudget: // the resolver's limit is the reason, even if the time is over too
		h.reason = ReasonDNSBudget
	case e.ctx.Err() != nil:
		h.reason = ReasonTimeLimit
	case h.dnsErr == nil:
	case h.dnsErr.Kind == dns.KindLoop: // RFC 7208 §2.6.7: only the domain's operator can repair it
		h.result, h.reason = PermError, ReasonDNSLoop
	case h.dnsErr.Kind == dns.KindTooLarge:
		h.result, h.reason = PermError, ReasonDNSTooLarge
	}
	return dns.Answer{}, h
}

// skippable reports whether the lookup failed with a DNS error that ptr ignores
// (RFC 7208 §5.5). It is false if a limit of the whole check was reached.
func (h *halt) skippable() bool {
	switch h.reason {
	case ReasonDNS, ReasonDNSLoop, ReasonDNSTooLarge:
		return true
	}
	return false
}

// countLookup counts a term that causes DNS lookups (RFC 7208 §4.6.4). It is
// called before the lookups.
func (e *evaluation) countLookup() *halt {
	if e.check.Lookups >= MaxLookups {
		return &halt{result: PermError, reason: ReasonLookupLimit, problem: fmt.Sprintf("more than %d terms need DNS lookups", MaxLookups)}
	}
	e.check.Lookups++
	return nil
}

// countVoid counts a term whose own lookup found nothing (RFC 7208 §4.6.4).
// Lookups for the addresses of MX hosts and of PTR names do not count.
func (e *evaluation) countVoid(ans dns.Answer) *halt {
	if !ans.Void() {
		return nil
	}
	if e.check.VoidLookups++; e.check.VoidLookups > MaxVoidLookups {
		return &halt{result: PermError, reason: ReasonVoidLimit, problem: fmt.Sprintf("more than %d lookups found nothing", MaxVoidLookups)}
	}
	return nil
}

func (e *evaluation) trace(s Step) {
	s.Term, s.Detail = printable.Escaped(s.Term), printable.Escaped(s.Detail)
	switch n := len(e.check.Trace); {
	case n == 0: // a capacity of eight steps is enough for most checks
		e.check.Trace = append(make([]Step, 0, 8), s)
	case n < MaxTraceSteps-1:
		e.check.Trace = append(e.check.Trace, s)
	case n == MaxTraceSteps-1:
		e.check.Trace = append(e.check.Trace, Step{Domain: s.Domain, Outcome: OutcomeTruncated, Depth: s.Depth})
	}
}
