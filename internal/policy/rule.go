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
type Rule struct {
	ID string // unique; stands in the log, the label, metrics and DMARC reports
	// Expires is when the rule ceases to match. The zero time means never.
	Expires time.Time
	When    Conditions
	Then    Outcome
	// Owner and Reason are for people. They do not affect decisions.
	Owner, Reason string
}

// Conditions say which messages a rule matches: every key that is set must
// hold, each by one of its values.
type Conditions struct {
	Client     []netip.Prefix // the SMTP client's address
	ClientName []Pattern      // its name, verified by iprev
	DKIM       []Pattern      // d= of a signature that passes
	// ARCSealer is the domain of the newest seal of a valid chain. A seal whose
	// own results say dmarc=fail does not count.
	ARCSealer []Pattern
	SPF       []Pattern // the envelope's domain, if SPF passes; HELO's for a null sender
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

// Absent is the published policy of an author without a usable DMARC record.
const Absent dmarc.Policy = "absent"

// PublishedValues lists what Conditions.Published may hold.
var PublishedValues = []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, Absent}

// DMARCValues lists what Conditions.DMARC may hold.
var DMARCValues = []dmarc.Result{dmarc.ResultPass, dmarc.ResultFail, dmarc.ResultNone, dmarc.ResultTempError, dmarc.ResultPermError}

// WantsAll reports whether a rule may decide on a message that passes DMARC by
// results that otherwise are only shown: who else signed, SPF beside DKIM, the
// client's name. Then the message must wait for all of them.
func (c Config) WantsAll() bool {
	return slices.ContainsFunc(c.Rules, func(r Rule) bool {
		w := r.When
		return (len(w.DMARC) == 0 || slices.Contains(w.DMARC, dmarc.ResultPass)) &&
			len(w.ClientName)+len(w.DKIM)+len(w.SPF)+len(w.Published)+len(w.Traits) > 0
	})
}

// Outcome is what a rule leads to: an action, or the verdict that would follow
// if another policy were published. Exactly one of the fields is set.
type Outcome struct {
	Action Action       // Accept, Tag, Quarantine or Reject
	Policy dmarc.Policy // as if this policy were published
}

// OutcomeActions and OutcomePolicies list what an Outcome may be.
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

// Pattern is a domain name, which stands for itself. With a leading dot it
// stands for all names below the domain, but not for the domain.
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

// Matches reports whether the pattern stands for name.
func (p Pattern) Matches(name dns.Name) bool {
	if strings.HasPrefix(string(p), ".") {
		return strings.HasSuffix(string(name), string(p))
	}
	return dns.Name(p) == name
}

// covers reports whether p stands for everything q stands for.
func (p Pattern) covers(q Pattern) bool {
	return p == q || strings.HasPrefix(string(p), ".") && strings.HasSuffix(string(q), string(p))
}

// matchesAny reports whether one of the patterns stands for name. No pattern
// stands for "".
func matchesAny(patterns []Pattern, name dns.Name) bool {
	return name != "" && slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Matches(name) })
}
