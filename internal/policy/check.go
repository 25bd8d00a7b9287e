package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
)

// RuleError says what is wrong with a rule.
type RuleError struct {
	Key string // a key of the rule, such as dkim, when or then; "" is the whole rule
	Why string
}

// Error implements error.
func (e *RuleError) Error() string {
	if e.Key == "" {
		return "policy: " + e.Why
	}
	return "policy: " + e.Key + ": " + e.Why
}

// A network wider than these is not evidence: too many different people have
// hosts in it.
const (
	widestEvidence4 = 8
	widestEvidence6 = 19 // the largest block that one network operator is given
)

// CheckRule returns why a rule must not be used under this policy, or nil. It
// refuses a rule that can never match or never change anything, a rule that
// rejects because of a temporary error, and a lenient rule without evidence.
//
// A rule is lenient if its outcome can be milder than the one without it.
// Evidence is a condition that a stranger cannot meet by what he writes into a
// message: the client's network (no wider than /8, or /19 for IPv6), the
// client's name as verified by iprev, d= of a passing signature, a trusted ARC
// sealer on a valid chain, or an envelope domain that SPF passes. A pattern for
// all names below a public suffix, such as .co.jp, is not evidence, because
// anybody can register a name there. The Author Domain, its policy, DMARC's
// result and traits only narrow a rule.
func (c Config) CheckRule(r Rule) *RuleError {
	c = c.withDefaults()
	w := r.When
	if w.empty() {
		return &RuleError{"when", "has no condition, so it would match every message"}
	}
	if err := w.contradiction(); err != nil {
		return err
	}
	if err := w.effect(r.Then); err != nil {
		return err
	}
	if r.Then.Action == Reject && slices.Contains(w.DMARC, dmarc.ResultTempError) {
		return &RuleError{"then", "rejects because of a temporary error, which is never a reason to reject"}
	}
	if r.Then.rank() >= w.harshest(c, r.Then) || w.evidence() {
		return nil
	}
	for _, key := range w.names() {
		if p := tooWide(key.patterns); p != "" {
			return &RuleError{key.name, fmt.Sprintf("%s is not evidence for \"%s\": anybody can register a domain there", p, r.Then)}
		}
	}
	if len(w.Client) > 0 {
		return &RuleError{"client", fmt.Sprintf("a network wider than /%d (IPv6: /%d) is not evidence for \"%s\"",
			widestEvidence4, widestEvidence6, r.Then)}
	}
	return &RuleError{"then", fmt.Sprintf("\"%s\" needs evidence that a stranger cannot write into a message: "+
		"client, client_name, dkim, arc_sealer or spf; the keys given can all be forged", r.Then)}
}

func (w *Conditions) empty() bool {
	return len(w.Client)+len(w.ClientName)+len(w.DKIM)+len(w.ARCSealer)+len(w.SPF)+
		len(w.Author)+len(w.Published)+len(w.DMARC)+len(w.Traits) == 0
}

// evidence reports whether one of the conditions is evidence, see CheckRule.
func (w *Conditions) evidence() bool {
	for _, key := range w.names() {
		if len(key.patterns) > 0 && tooWide(key.patterns) == "" {
			return true
		}
	}
	return len(w.Client) > 0 && !slices.ContainsFunc(w.Client, func(n netip.Prefix) bool {
		widest := widestEvidence6
		if n.Addr().Is4() {
			widest = widestEvidence4
		}
		return n.Bits() < widest
	})
}

// namesKey is a condition on a name that can be evidence.
type namesKey struct {
	name     string
	patterns []Pattern
}

func (w *Conditions) names() []namesKey {
	return []namesKey{{"client_name", w.ClientName}, {"dkim", w.DKIM}, {"arc_sealer", w.ARCSealer}, {"spf", w.SPF}}
}

// tooWide returns the first pattern that stands for all names below a public
// suffix, or "".
func tooWide(patterns []Pattern) Pattern {
	for _, p := range patterns {
		name, below := strings.CutPrefix(string(p), ".")
		if below && suffix.IsPublic(dns.Name(name)) {
			return p
		}
	}
	return ""
}

// possible reports whether a message can have this DMARC result together with
// this published policy.
func possible(result dmarc.Result, published dmarc.Policy) bool {
	switch result {
	case dmarc.ResultPermError:
		return false // there is no author, so no policy is looked for
	case dmarc.ResultNone:
		return published == Absent
	}
	return published != Absent
}

// results lists the DMARC results that a matching message can have.
func (w *Conditions) results() []dmarc.Result {
	return slices.DeleteFunc(slices.Clone(DMARCValues), func(r dmarc.Result) bool {
		switch {
		case len(w.DMARC) > 0 && !slices.Contains(w.DMARC, r):
			return true
		case r == dmarc.ResultPermError:
			return len(w.Author)+len(w.Published) > 0
		}
		return len(w.Published) > 0 && !slices.ContainsFunc(w.Published, func(p dmarc.Policy) bool { return possible(r, p) })
	})
}

// contradiction returns an error if two conditions exclude each other.
func (w *Conditions) contradiction() *RuleError {
	if len(w.results()) > 0 {
		return nil
	}
	if len(w.Published) > 0 {
		return &RuleError{"published", "can never match together with the results under dmarc"}
	}
	return &RuleError{"dmarc", "can never match: permerror is a message without a single author, which has no author domain"}
}

// effect returns an error if the outcome can never change anything.
func (w *Conditions) effect(o Outcome) *RuleError {
	results := w.results()
	only := func(set ...dmarc.Result) bool {
		return !slices.ContainsFunc(results, func(r dmarc.Result) bool { return !slices.Contains(set, r) })
	}
	switch {
	case o.Policy != "" && only(dmarc.ResultPass, dmarc.ResultPermError):
		return &RuleError{"then", fmt.Sprintf("\"%s\" can never match a message that fails, is undecided or has no policy, "+
			"and it changes no other", o)}
	case o.Action == Accept && only(dmarc.ResultPass):
		return &RuleError{"then", "\"accept\" changes nothing: a pass is accepted anyway"}
	case o.Action == Accept && only(dmarc.ResultPermError):
		return &RuleError{"then", "\"accept\" never applies to a message without a single author; policy.invalid_from decides"}
	}
	return nil
}

// harshest returns the rank of the harshest verdict without the rule, over all
// messages that match and that the outcome can change.
func (w *Conditions) harshest(c Config, o Outcome) int {
	worst := 0
	putOff := func(a Action, published ...dmarc.Policy) bool {
		matches := func(p dmarc.Policy) bool { return slices.Contains(w.Published, p) }
		return a == TempFail && (len(w.Published) == 0 || slices.ContainsFunc(published, matches))
	}
	for _, r := range w.results() {
		switch r {
		case dmarc.ResultFail:
			for _, p := range []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject} {
				if len(w.Published) == 0 || slices.Contains(w.Published, p) {
					worst = max(worst, Outcome{Policy: p}.rank())
				}
			}
		case dmarc.ResultNone:
			worst = max(worst, rank(c.NoPolicy), rank(c.SPFFail))
		case dmarc.ResultTempError:
			if putOff(c.TempError, dmarc.PolicyQuarantine, dmarc.PolicyReject) || putOff(c.TempErrorUnknown, dmarc.PolicyNone) {
				worst = max(worst, rank(Quarantine)) // delivering is milder than putting off
			}
		}
		// A pass is accepted anyway, and without an author no rule is milder
		// than policy.invalid_from: neither can become milder by a rule.
	}
	return worst
}

// Shadows reports whether r, which stands before b, matches every message that
// b would match, for as long as b is in force.
func (r *Rule) Shadows(b *Rule) bool {
	if !r.Expires.IsZero() && (b.Expires.IsZero() || r.Expires.Before(b.Expires)) {
		return false
	}
	if slices.Contains(b.When.results(), dmarc.ResultPermError) && r.Then.rank() < b.Then.rank() {
		return false // without an author r may not apply where b does
	}
	x, y := &r.When, &b.When
	covers := func(p, q Pattern) bool { return p.covers(q) }
	return covered(x.Client, y.Client, func(p, q netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) }) &&
		covered(x.ClientName, y.ClientName, covers) && covered(x.DKIM, y.DKIM, covers) &&
		covered(x.ARCSealer, y.ARCSealer, covers) && covered(x.SPF, y.SPF, covers) && covered(x.Author, y.Author, covers) &&
		covered(x.Published, y.Published, equal) && covered(x.DMARC, y.DMARC, equal) && covered(x.Traits, y.Traits, equal)
}

// covered reports whether the values of a key in the first rule allow
// everything that the values in the later rule allow. A key without values
// allows everything.
func covered[T any](first, later []T, covers func(a, b T) bool) bool {
	if len(first) == 0 {
		return true
	}
	return len(later) > 0 && !slices.ContainsFunc(later, func(b T) bool {
		return !slices.ContainsFunc(first, func(a T) bool { return covers(a, b) })
	})
}

func equal[T comparable](a, b T) bool { return a == b }
