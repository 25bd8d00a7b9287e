package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/trait"
)

// Rule is one of the operator's exceptions. The first rule that matches a
// message decides on it.
//
// For a message without a single author, some matching rules are skipped, and a
// later rule can decide: a rule whose outcome is a policy, and a rule whose
// action is milder than the verdict without rules (usually that of
// policy.invalid_from).
type Rule struct {
	ID string // unique; shown in the log, the label, metrics and DMARC reports
	// Expires is the time from which the rule no longer matches. The zero time
	// means that it does not expire.
	Expires time.Time
	When    Conditions
	Then    Outcome
	// Owner and Reason are notes for the operator. They do not affect
	// decisions.
	Owner, Reason string
}

// Conditions say which messages a rule matches. Every key that is set must
// hold. A key holds if at least one of its values matches the message.
type Conditions struct {
	Client     []netip.Prefix // the SMTP client's address
	ClientName []Pattern      // the client's name, verified by iprev
	DKIM       []Pattern      // d= of a signature that passes
	// ARCSealer is the domain of the newest seal of a valid chain. A seal whose
	// own results say dmarc=fail does not count.
	ARCSealer []Pattern
	SPF       []Pattern // the domain of MAIL FROM (of HELO if the sender is null), if its SPF result is pass
	Author    []Pattern // the Author Domain
	Published []dmarc.Policy
	DMARC     []dmarc.Result
	Traits    []trait.Trait
}

// String returns the conditions as they are written in a configuration, such as
// "client: 198.51.100.0/24; dmarc: fail".
func (c Conditions) String() string {
	var parts []string
	for _, key := range []struct {
		name   string
		values any
		n      int
	}{
		{"client", c.Client, len(c.Client)}, {"client_name", c.ClientName, len(c.ClientName)}, {"dkim", c.DKIM, len(c.DKIM)},
		{"arc_sealer", c.ARCSealer, len(c.ARCSealer)}, {"spf", c.SPF, len(c.SPF)}, {"author", c.Author, len(c.Author)},
		{"published", c.Published, len(c.Published)}, {"dmarc", c.DMARC, len(c.DMARC)}, {"traits", c.Traits, len(c.Traits)},
	} {
		if key.n > 0 {
			parts = append(parts, key.name+": "+strings.Trim(fmt.Sprint(key.values), "[]"))
		}
	}
	return strings.Join(parts, "; ")
}

// Absent is a value of Conditions.Published. It stands for an author without a
// usable DMARC record.
const Absent dmarc.Policy = "absent"

// PublishedValues lists what Conditions.Published may hold.
var PublishedValues = []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, Absent}

// DMARCValues lists what Conditions.DMARC may hold.
var DMARCValues = []dmarc.Result{dmarc.ResultPass, dmarc.ResultFail, dmarc.ResultNone, dmarc.ResultTempError, dmarc.ResultPermError}

// WantsAll reports whether a rule compares results that do not matter for
// DMARC, such as signatures of other domains or the client's name, and can
// match a message that passes DMARC. If so, the caller must wait for these
// results before it calls Decide. Without such a rule these results only go
// into the label, and a passing message need not wait for them.
func (c Config) WantsAll() bool {
	return slices.ContainsFunc(c.Rules, func(r Rule) bool {
		w := r.When
		return (len(w.DMARC) == 0 || slices.Contains(w.DMARC, dmarc.ResultPass)) &&
			len(w.ClientName)+len(w.DKIM)+len(w.SPF)+len(w.Published)+len(w.Traits) > 0
	})
}

// Outcome is what a rule leads to. It is either an action, or the verdict that
// would follow if Policy were the published policy. Exactly one of the fields
// is set.
type Outcome struct {
	Action Action       // Accept, Tag, Quarantine or Reject
	Policy dmarc.Policy // decide as if this were the published policy
}

// OutcomeActions and OutcomePolicies list the allowed values of the fields of
// Outcome.
var (
	OutcomeActions  = []Action{Accept, Tag, Quarantine, Reject}
	OutcomePolicies = []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject}
)

// rank returns the rank of the harshest action that the outcome can lead to.
func (o Outcome) rank() int {
	switch o.Policy {
	case "":
		return rank(o.Action)
	case dmarc.PolicyReject:
		return rank(Reject)
	case dmarc.PolicyQuarantine:
		return rank(Quarantine)
	}
	return rank(Tag)
}

// String returns the outcome as it is written in a configuration.
func (o Outcome) String() string {
	if o.Policy != "" {
		return "{policy: " + string(o.Policy) + "}"
	}
	return string(o.Action)
}

// Pattern matches domain names. "example.com" matches only this name.
// ".example.com" matches all names below example.com, but not example.com
// itself.
type Pattern string

// ParsePattern reads "example.com" or ".example.com". The domain must have two
// labels or more.
func ParsePattern(s string) (Pattern, error) {
	below := strings.HasPrefix(s, ".")
	n, err := dns.ParseHostname(strings.TrimPrefix(s, "."))
	if err != nil {
		return "", fmt.Errorf("policy: %q is not a domain; write example.com, or .example.com for what is below it", s)
	}
	if below {
		return Pattern("." + n), nil
	}
	return Pattern(n), nil
}

// Matches reports whether the pattern matches name.
func (p Pattern) Matches(name dns.Name) bool {
	if strings.HasPrefix(string(p), ".") {
		return strings.HasSuffix(string(name), string(p))
	}
	return dns.Name(p) == name
}

// covers reports whether p matches every name that q matches.
func (p Pattern) covers(q Pattern) bool {
	return p == q || strings.HasPrefix(string(p), ".") && strings.HasSuffix(string(q), string(p))
}

// matchesAny reports whether one of the patterns matches name. No pattern
// matches "".
func matchesAny(patterns []Pattern, name dns.Name) bool {
	return name != "" && slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Matches(name) })
}
