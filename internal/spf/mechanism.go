package spf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
)

// match evaluates a directive and adds it to the trace.
func (e *evaluation) match(d *Directive, domain dns.Name, depth int) (bool, *halt) {
	var (
		matched bool
		detail  string
		h       *halt
	)
	switch d.Mechanism {
	case MechanismAll, MechanismIP4, MechanismIP6:
		matched = e.matchesAlone(d)
	default:
		matched, detail, h = e.matchDNS(d, domain, depth)
	}
	step := Step{Domain: domain, Term: d.Text, Outcome: OutcomeNoMatch, Detail: detail, Depth: depth}
	switch {
	case h != nil:
		step.Outcome, step.Detail = OutcomeError, h.problem
	case matched:
		step.Outcome = OutcomeMatch
	}
	e.trace(step)
	return matched, h
}

// matchesAlone reports whether a directive that needs no DNS matches.
func (e *evaluation) matchesAlone(d *Directive) bool {
	return d.Mechanism == MechanismAll || d.Network.Contains(e.ip)
}

// matchDNS evaluates a mechanism that causes DNS lookups. detail says which name
// was looked up and what was found.
func (e *evaluation) matchDNS(d *Directive, domain dns.Name, depth int) (matched bool, detail string, h *halt) {
	target, noMatch, h := e.countedTarget(d.target, domain)
	switch {
	case h != nil:
		return false, "", h
	case noMatch != "" && d.Mechanism == MechanismInclude && !matchesNothing(noMatch):
		// For a malformed target, check_host() gives none (RFC 7208 §4.3). An include
		// whose target gives none is a permerror (§5.2).
		return false, "", &halt{result: PermError, reason: ReasonIncludeNone, problem: fmt.Sprintf("%s: %s: %s", domain, quoted(d.Text), noMatch)}
	case noMatch != "":
		return false, noMatch, nil
	}
	switch d.Mechanism {
	case MechanismInclude:
		return e.matchInclude(d, target, domain, depth)
	case MechanismA:
		return e.matchA(d, target)
	case MechanismMX:
		return e.matchMX(d, target)
	case MechanismPTR:
		return e.matchPTR(target)
	default:
		return e.matchExists(target)
	}
}

// Reasons why a term cannot match because of its target name. The errors of
// expand and of dns.ParseName are further reasons.
const (
	nonASCIILocal = "local part is not ASCII (RFC 8616 section 4)"
	emptyTarget   = "macros expand to an empty name"
	nothingOwned  = "the name is too long, and the client alone chose the part that is left (RFC 7208 section 7.3)"
)

// matchesNothing reports whether an include or redirect with the problem noMatch
// counts as a term that does not match (RFC 8616 §4, RFC 7208 §7.3). With any other
// problem, an include or redirect ends the check with permerror.
func matchesNothing(noMatch string) bool { return noMatch == nonASCIILocal || noMatch == nothingOwned }

// countedTarget counts a term with DNS lookups and expands its domain-spec to the
// target-name (RFC 7208 §4.8). The result noMatch says why the term cannot match, or
// is "". §4.8 does not say what an invalid target-name means; here it counts as a name
// that does not exist, as in §4.3.
func (e *evaluation) countedTarget(spec *macroString, domain dns.Name) (target dns.Name, noMatch string, h *halt) {
	if h := e.countLookup(); h != nil {
		return "", "", h
	}
	if spec != nil && spec.usesPTR { // %{p} has a lookup of its own
		if h := e.countLookup(); h != nil {
			return "", "", h
		}
	}
	return e.target(spec, domain)
}

// target expands a domain-spec. nil means the current domain.
func (e *evaluation) target(spec *macroString, domain dns.Name) (target dns.Name, noMatch string, h *halt) {
	if spec == nil {
		return domain, "", nil
	}
	if spec.usesLocal && !printable.IsASCII(e.local) {
		return "", nonASCIILocal, nil
	}
	text, owned, noMatch, h := e.expand(spec, domain)
	if h != nil || noMatch != "" {
		return "", noMatch, h
	}
	name := truncateName(text)
	// RFC 7208 §7.3 cuts labels off the left. If this cuts off all labels that the
	// owner of the record chose, the client alone has chosen the name that is left. An
	// answer for that name must not decide about the client.
	cut := len(strings.TrimSuffix(text, ".")) - len(name)
	switch {
	case cut > 0 && owned <= cut:
		return "", nothingOwned, nil
	case name == "":
		return "", emptyTarget, nil
	}
	target, err := dns.ParseName(name)
	if err != nil {
		return "", err.Error(), nil
	}
	return target, "", nil
}

// matchInclude evaluates include (RFC 7208 §5.2). It matches if the included
// record gives pass. Errors of the included record are errors of the check.
func (e *evaluation) matchInclude(d *Directive, target, domain dns.Name, depth int) (bool, string, *halt) {
	e.trace(Step{Domain: domain, Term: d.Text, Outcome: OutcomeEnter, Detail: string(target), Depth: depth})
	v, h := e.nested(target, depth, ReasonIncludeNone)
	if h != nil {
		return false, "", h
	}
	return v.result == Pass, string(target) + ": " + string(v.result) + " by " + v.mechanism, nil
}

// matchA evaluates the mechanism "a" (RFC 7208 §5.3).
func (e *evaluation) matchA(d *Directive, target dns.Name) (bool, string, *halt) {
	ans, h := e.addresses(target)
	if h == nil {
		h = e.countVoid(ans)
	}
	if h != nil {
		return false, "", h
	}
	return e.inNetwork(ans, d), describe(target, ans), nil
}

// matchMX evaluates mx (RFC 7208 §5.4). More than ten hosts are a permerror even
// if one of the first ten would match, because the order of hosts in an answer is
// random and the result must not depend on it.
func (e *evaluation) matchMX(d *Directive, target dns.Name) (bool, string, *halt) {
	mx, h := e.lookup(target, dns.TypeMX)
	if h == nil {
		h = e.countVoid(mx)
	}
	if h != nil {
		return false, "", h
	}
	if len(mx.Records) > MaxHosts {
		return false, "", &halt{result: PermError, reason: ReasonMXLimit,
			problem: fmt.Sprintf("%s has more than %d MX records", target, MaxHosts)}
	}
	e.ahead.hosts(mx, e.check.Lookups)
	for _, r := range mx.Records {
		if r.Host == "" {
			continue // null MX (RFC 7505)
		}
		ans, h := e.addresses(r.Host)
		if h != nil {
			return false, "", h
		}
		if e.inNetwork(ans, d) {
			return true, describe(r.Host, ans), nil
		}
	}
	// The target's own addresses are not looked up: in SPF a domain without MX records
	// does not count as its own MX.
	return false, describe(target, mx), nil
}

// matchExists evaluates exists (RFC 7208 §5.7). It asks for A records even if
// the client has an IPv6 address.
func (e *evaluation) matchExists(target dns.Name) (bool, string, *halt) {
	ans, h := e.lookup(target, dns.TypeA)
	if h == nil {
		h = e.countVoid(ans)
	}
	if h != nil {
		return false, "", h
	}
	return !ans.Void(), describe(target, ans), nil
}

// addresses looks up the IPv4 addresses of a host if the client has an IPv4
// address, otherwise its IPv6 addresses (RFC 7208 §5).
func (e *evaluation) addresses(host dns.Name) (dns.Answer, *halt) {
	return e.lookup(host, e.addressType())
}

// addressType returns A for a client with an IPv4 address, otherwise AAAA.
func (e *evaluation) addressType() dns.Type {
	if e.ip.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

// inNetwork reports whether the client is in the same network as one of the
// addresses of the answer. The directive gives the prefix length of the network.
func (e *evaluation) inNetwork(ans dns.Answer, d *Directive) bool {
	bits := d.Bits6
	if e.ip.Is4() {
		bits = d.Bits4
	}
	for _, r := range ans.Records {
		if network := netip.PrefixFrom(r.Addr, bits); network.Contains(e.ip) {
			return true
		}
	}
	return false
}

// describe says what a lookup found, for the trace.
func describe(name dns.Name, ans dns.Answer) string {
	what := ""
	switch {
	case ans.Status == dns.NXDomain:
		what = "NXDOMAIN"
	case len(ans.Records) == 0:
		what = "no records"
	case len(ans.Records) == 1:
		what = "1 record"
	default:
		what = strconv.Itoa(len(ans.Records)) + " records"
	}
	return string(name) + " " + ans.Type.String() + ": " + what
}
