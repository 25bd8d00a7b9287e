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
	Key string // a key of the rule, such as dkim, when or then; "" if the rule as a whole is wrong
	Why string
}

// Error implements error.
func (e *RuleError) Error() string {
	if e.Key == "" {
		return "policy: " + e.Why
	}
	return "policy: " + e.Key + ": " + e.Why
}

// The lengths of the shortest prefixes that count as evidence. In a larger
// network, too many unrelated people have hosts.
const (
	widestEvidence4 = 8
	widestEvidence6 = 19 // the largest block that a registry gives to one network operator
)

// CheckRule returns why a rule must not be used under this policy, or nil. It
// refuses a rule without conditions, a rule that can never match or never
// change anything, a rule that rejects because of a temporary error, and a
// lenient rule without evidence.
//
// A rule is lenient if a message can get a milder action with the rule than
// without it. Evidence is a condition that a stranger cannot fulfil by writing
// something into a message: the client's network (/8 or smaller, for IPv6 /19
// or smaller), the client's name verified by iprev, d= of a passing signature,
// the newest sealer of a valid ARC chain, or an envelope domain with an SPF
// pass. A pattern for all names below a public suffix, such as .co.jp, is not
// evidence, because anybody can register a name there. The Author Domain is
// evidence if the rule matches only messages that pass DMARC. The other
// conditions (its policy, the DMARC result and traits) are not evidence.
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
	if r.Then.rank() >= w.harshest(c) || w.evidence() {
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

// evidence reports whether at least one of the conditions is evidence; see
// CheckRule.
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

// namesKey is one of the conditions that compare a name and can be evidence.
type namesKey struct {
	name     string
	patterns []Pattern
}

func (w *Conditions) names() []namesKey {
	keys := []namesKey{{"client_name", w.ClientName}, {"dkim", w.DKIM}, {"arc_sealer", w.ARCSealer}, {"spf", w.SPF}}
	if slices.Equal(w.results(), []dmarc.Result{dmarc.ResultPass}) {
		keys = append(keys, namesKey{"author", w.Author}) // DMARC proves it
	}
	return keys
}

// tooWide returns the first pattern that matches all names below a public
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

// possible reports whether a message can have the DMARC result and the
// published policy at the same time.
func possible(result dmarc.Result, published dmarc.Policy) bool {
	switch result {
	case dmarc.ResultPermError:
		return false // there is no single author, so no policy was looked up
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

// effect returns an error if the outcome cannot change the verdict on any
// matching message.
func (w *Conditions) effect(o Outcome) *RuleError {
	results := w.results()
	only := func(set ...dmarc.Result) bool {
		return !slices.ContainsFunc(results, func(r dmarc.Result) bool { return !slices.Contains(set, r) })
	}
	switch {
	case o.Policy != "" && only(dmarc.ResultPass, dmarc.ResultPermError):
		return &RuleError{"then", fmt.Sprintf("\"%s\" can never match a message that fails, is undecided or has no policy, "+
			"and it changes no other", o)}
	case o.Action == Accept && only(dmarc.ResultPermError):
		return &RuleError{"then", "\"accept\" never applies to a message without a single author; policy.invalid_from decides"}
	}
	return nil
}

// harshest looks at the messages that the rule matches and whose action the rule
// can make milder. It returns the rank of the harshest action that such a message
// can get without the rule.
func (w *Conditions) harshest(c Config) int {
	worst := rank(Tag) // a pass with a misleading display name, a fail under p=none and what is delivered undecided are tagged
	putOff := func(a Action, published ...dmarc.Policy) bool {
		matches := func(p dmarc.Policy) bool { return slices.Contains(w.Published, p) }
		return a == TempFail && (len(w.Published) == 0 || slices.ContainsFunc(published, matches))
	}
	for _, r := range w.results() {
		switch r {
		case dmarc.ResultFail:
			for _, p := range []dmarc.Policy{dmarc.PolicyQuarantine, dmarc.PolicyReject} {
				if len(w.Published) == 0 || slices.Contains(w.Published, p) {
					worst = max(worst, Outcome{Policy: p}.rank())
				}
			}
		case dmarc.ResultNone:
			worst = max(worst, rank(c.NoPolicy), rank(c.SPFFail))
		case dmarc.ResultTempError:
			if putOff(c.TempError, dmarc.PolicyQuarantine, dmarc.PolicyReject) || putOff(c.TempErrorUnknown, dmarc.PolicyNone) {
				// TempFail has no rank of its own. Here it counts as Quarantine, so
				// that accept and tag are milder than it.
				worst = max(worst, rank(Quarantine))
			}
		}
		// The result permerror does not count: a rule that is milder than
		// policy.invalid_from does not apply to a message without a single author.
	}
	return worst
}

// Shadows reports whether b can never decide, because r stands before b,
// matches every message that b matches, and does not expire before b.
func (r *Rule) Shadows(b *Rule) bool {
	if !r.Expires.IsZero() && (b.Expires.IsZero() || r.Expires.Before(b.Expires)) {
		return false
	}
	x, y := &r.When, &b.When
	covers := func(p, q Pattern) bool { return p.covers(q) }
	all := covered(x.Client, y.Client, func(p, q netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) }) &&
		covered(x.ClientName, y.ClientName, covers) && covered(x.DKIM, y.DKIM, covers) &&
		covered(x.ARCSealer, y.ARCSealer, covers) && covered(x.SPF, y.SPF, covers) && covered(x.Author, y.Author, covers) &&
		covered(x.Published, y.Published, equal) && covered(x.DMARC, y.DMARC, equal) && covered(x.Traits, y.Traits, equal)
	// For a message without a single author, r may be skipped as too mild (see Rule), so b can decide.
	return all && (r.Then.rank() >= b.Then.rank() || !slices.Contains(b.When.results(), dmarc.ResultPermError))
}

// covered reports whether a key of the first rule matches every message that the
// same key of the later rule matches. The parameters first and later are the values
// of the key in the two rules. A key without values matches every message.
func covered[T any](first, later []T, covers func(a, b T) bool) bool {
	if len(first) == 0 {
		return true
	}
	return len(later) > 0 && !slices.ContainsFunc(later, func(b T) bool {
		return !slices.ContainsFunc(first, func(a T) bool { return covers(a, b) })
	})
}

func equal[T comparable](a, b T) bool { return a == b }
