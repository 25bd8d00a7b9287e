package spf

import (
	"fmt"

	"sekimori/internal/dns"
)

// ptrNames are the names of the client's address. A name is validated only when
// a term needs it, and only once.
type ptrNames struct {
	answer    dns.Answer
	problem   string     // why the PTR lookup failed, or ""
	names     []dns.Name // the first MaxHosts names of the answer
	validated map[dns.Name]bool
}

// lookupPTR returns the names of the client's address. It asks DNS only once for
// each check (RFC 7208 §5.5). A DNS error is stored in the field "problem" and does
// not end the check.
func (e *evaluation) lookupPTR() (*ptrNames, *halt) {
	if e.ptr != nil {
		return e.ptr, nil
	}
	p := &ptrNames{validated: map[dns.Name]bool{}}
	ans, h := e.lookup(dns.ReverseName(e.ip), dns.TypePTR)
	switch {
	case h == nil:
		p.answer = ans
		for _, r := range ans.Records[:min(len(ans.Records), MaxHosts)] {
			p.names = append(p.names, r.Host)
		}
	case h.skippable():
		p.problem = h.problem
	default:
		return nil, h
	}
	e.ptr = p
	return p, nil
}

// validates reports whether one of the addresses of name is the client's. After
// a DNS error the name does not count as valid (RFC 7208 §5.5).
func (e *evaluation) validates(p *ptrNames, name dns.Name) (bool, *halt) {
	if valid, known := p.validated[name]; known || name == "" {
		return valid, nil
	}
	ans, h := e.addresses(name)
	if h != nil && !h.skippable() {
		return false, h
	}
	valid := false
	for _, r := range ans.Records {
		valid = valid || r.Addr.Unmap() == e.ip
	}
	p.validated[name] = valid
	return valid, nil
}

// firstValid returns the first valid name for which wanted returns true, or "". It
// validates only names for which wanted returns true.
func (e *evaluation) firstValid(p *ptrNames, wanted func(dns.Name) bool) (dns.Name, *halt) {
	for _, name := range p.names {
		if !wanted(name) {
			continue
		}
		if valid, h := e.validates(p, name); h != nil || valid {
			return name, h
		}
	}
	return "", nil
}

// matchPTR evaluates ptr (RFC 7208 §5.5). It matches if a valid name of the
// client is the target or below it. (The text of the RFC says the reverse by
// mistake: see erratum 4751.)
func (e *evaluation) matchPTR(target dns.Name) (bool, string, *halt) {
	p, h := e.lookupPTR()
	if h != nil {
		return false, "", h
	}
	if p.problem != "" {
		return false, p.problem, nil
	}
	if h := e.countVoid(p.answer); h != nil {
		return false, "", h
	}
	name, h := e.firstValid(p, func(n dns.Name) bool { return n.Under(target) })
	if h != nil {
		return false, "", h
	}
	if name == "" {
		return false, fmt.Sprintf("%s; none is valid and under %s", describe(p.answer.Name, p.answer), target), nil
	}
	return true, string(name) + " is valid", nil
}

// validatedName returns the value of %{p} (RFC 7208 §7.3): domain itself if it is
// a valid name of the client, else a valid name below it, else any valid name,
// else "unknown".
func (e *evaluation) validatedName(domain dns.Name) (string, *halt) {
	p, h := e.lookupPTR()
	if h != nil {
		return "", h
	}
	for _, wanted := range []func(dns.Name) bool{
		func(n dns.Name) bool { return n == domain },
		func(n dns.Name) bool { return n.Under(domain) },
		func(dns.Name) bool { return true },
	} {
		if name, h := e.firstValid(p, wanted); h != nil || name != "" {
			return string(name), h
		}
	}
	return unknown, nil
}
