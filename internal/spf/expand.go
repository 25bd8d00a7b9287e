package spf

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
)

// unknown is the value of %{p} if the client has no valid name, and of %{r} if
// the caller gave no name of the receiver (RFC 7208 §7.3).
const unknown = "unknown"

// expand replaces the macros of m by their values for domain (RFC 7208 §7.2). If
// the expansion is too long, the result "problem" says so. [macroString.expand]
// explains the result "owned".
func (e *evaluation) expand(m *macroString, domain dns.Name) (text string, owned int, problem string, h *halt) {
	validated := ""
	if m.usesPTR {
		if validated, h = e.validatedName(domain); h != nil {
			return "", 0, "", h
		}
	}
	text, owned, err := m.expand(func(letter byte) string {
		switch letter {
		case 's':
			return e.local + "@" + string(e.origin)
		case 'l':
			return e.local
		case 'o':
			return string(e.origin)
		case 'd':
			return string(domain)
		case 'p':
			return validated
		default:
			return e.sessionValue(letter)
		}
	})
	if err != nil {
		return "", 0, err.Error(), nil
	}
	return text, owned, "", nil
}

// sessionValue returns the value of a macro about the client, the receiver or
// the time.
func (e *evaluation) sessionValue(letter byte) string {
	switch letter {
	case 'i':
		return dotted(e.ip)
	case 'v':
		if e.ip.Is4() {
			return "in-addr"
		}
		return "ip6"
	case 'h':
		return heloValue(e.args.HELO)
	case 'c':
		return e.ip.String()
	case 'r':
		if e.args.Receiver == "" {
			return unknown
		}
		return string(e.args.Receiver)
	default: // 't', the only other letter that parseMacro accepts
		return strconv.FormatInt(max(0, e.args.Now.Unix()), 10)
	}
}

// heloValue returns HELO as the client gave it, but with A-labels instead of
// U-labels (RFC 8616 §4).
func heloValue(helo string) string {
	if printable.IsASCII(helo) {
		return helo
	}
	if name, err := dns.ParseName(helo); err == nil {
		return string(name)
	}
	return helo // helo is not a domain name, so it has no A-labels
}

// dotted returns the value of %{i}: an IPv4 address as usual, an IPv6 address as
// hexadecimal digits with dots between them (RFC 7208 §7.3). The digits are in
// upper case, because the test suite of openspf.org expects that in
// explanations. The DNS does not distinguish case.
func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	const hex = "0123456789ABCDEF"
	b := ip.As16()
	out := make([]byte, 0, 4*len(b))
	for _, c := range b {
		out = append(out, hex[c>>4], '.', hex[c&15], '.')
	}
	return string(out[:len(out)-1])
}

// truncateName cuts labels off the left until the name is short enough for the DNS
// (RFC 7208 §7.3). A dot at the end does not count towards the length and is
// dropped.
func truncateName(name string) string {
	name = strings.TrimSuffix(name, ".")
	if excess := len(name) - dns.MaxNameLen; excess > 0 {
		// Cut at the first dot that leaves a name that is short enough.
		dot := strings.IndexByte(name[excess-1:], '.')
		if dot < 0 {
			return ""
		}
		name = name[excess-1+dot+1:]
	}
	return name
}

// explain evaluates exp (RFC 7208 §6.2). The result is known already, so exp
// does not count towards the limits of §4.6.4. If anything goes wrong, the
// explanation is empty.
func (e *evaluation) explain(domain dns.Name, exp *Modifier) string {
	step := Step{Domain: domain, Term: exp.Text}
	text, problem := e.explanation(domain, exp)
	if problem != "" {
		step.Outcome, step.Detail = OutcomeIgnored, problem
	} else {
		step.Outcome, step.Detail = OutcomeExplained, text
	}
	e.trace(step)
	return text
}

func (e *evaluation) explanation(domain dns.Name, exp *Modifier) (text, problem string) {
	target, noMatch, h := e.target(exp.target, domain)
	if noMatch != "" {
		return "", noMatch
	}
	var ans dns.Answer
	if h == nil {
		ans, h = e.lookup(target, dns.TypeTXT)
	}
	if h != nil {
		return "", h.problem
	}
	if len(ans.Records) != 1 {
		return "", fmt.Sprintf("%s has %d TXT records, not one", target, len(ans.Records))
	}
	source := ans.Records[0].Text
	if len(source) > MaxRecordLen {
		return "", fmt.Sprintf("explanation over %d octets", MaxRecordLen)
	}
	m, reason := parseMacros(source, inExplanation)
	if reason != "" {
		return "", fmt.Sprintf("syntax error in %s: %s", quoted(source), reason)
	}
	text, _, problem, h = e.expand(m, domain)
	switch {
	case h != nil:
		return "", h.problem
	case problem != "":
		return "", problem
	case !printable.IsPlain(text):
		// The client chose the text of %{l} and %{h}. Without this check, that text
		// could add a line to the SMTP reply.
		return "", "expands to something that is not printable US-ASCII"
	}
	return text[:min(len(text), MaxExplanationLen)], ""
}
