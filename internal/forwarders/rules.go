package forwarders

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/policy"
	"sekimori/internal/printable"
	"sekimori/internal/trait"
)

// ruleLife is how long a proposed rule is valid. After that, an operator must check the rule again.
// To check it more often would be too much work.
const ruleLife = 180 * 24 * time.Hour

// Rule is an item of policy.overrides.
type Rule struct {
	ID      string              `json:"id"`
	Owner   string              `json:"owner"`
	Reason  string              `json:"reason"`
	Expires string              `json:"expires"` // a date, as 2006-01-02
	When    map[string][]string `json:"when"`
	Then    string              `json:"then"`
}

// Proposal is a source together with a rule for its mail.
type Proposal struct {
	*Source
	Rule Rule `json:"rule"`
}

// Propose makes a rule for each source that a rule can name in its condition.
func Propose(sources []*Source, owner string, now time.Time) []Proposal {
	out := []Proposal{}
	seen := map[string]int{}
	for _, s := range sources {
		values := s.patterns()
		if values == nil {
			continue
		}
		id := ruleID(s)
		if seen[id]++; seen[id] > 1 {
			id = fmt.Sprintf("%s-%d", id, seen[id])
		}
		when := map[string][]string{string(s.Kind): values, "dmarc": {"fail"}}
		if s.Broken == s.Failures {
			when["traits"] = []string{string(trait.BrokenAuthorSignature)}
		}
		out = append(out, Proposal{s, Rule{
			ID: id, Owner: owner, Reason: s.String(), Expires: now.Add(ruleLife).UTC().Format(time.DateOnly),
			When: when, Then: string(s.then()),
		}})
	}
	return out
}

// then returns the action of the rule for messages of the source that fail DMARC. If SPF of an
// author says that the source is not allowed to send for the author, the action is quarantine. No
// other evidence is strong enough to accept such mail.
func (s *Source) then() policy.Action {
	if s.AuthorSPFFail > 0 {
		return policy.Quarantine
	}
	return policy.Accept
}

// patterns returns the values for the condition of the rule. It returns nil if one of the values
// cannot be used in a rule. For example, the reverse name of a client may have octets that a
// pattern does not allow.
func (s *Source) patterns() []string {
	if s.Kind == Client {
		if _, err := netip.ParsePrefix(s.Value); err != nil {
			return nil
		}
		return []string{s.Value}
	}
	values := []string{s.Value}
	if s.Kind == ClientName {
		if values = s.Names; len(values) == 0 {
			values = []string{"." + s.Value}
		}
	}
	for _, v := range values {
		if _, err := policy.ParsePattern(v); err != nil {
			return nil
		}
	}
	return values
}

// ruleID returns an id for the rule.
func ruleID(s *Source) string { return RuleID("forwarder-", s.Value) }

// RuleID returns an id of at most 56 octets for a rule about a domain or a network.
func RuleID(prefix, value string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.':
			return r
		}
		return '-'
	}, strings.ToLower(value))
	const most = 56
	return prefix + name[:min(len(name), most-len(prefix))]
}

// String describes in one sentence which messages of the source were seen.
func (s *Source) String() string {
	return fmt.Sprintf("%d of %d messages fail DMARC, of %d authors; "+
		"%d with a broken author signature, %d with none, %d with SRS, %d against the author's SPF; %d of %d authors passed intact",
		s.Failures, s.Messages, s.Authors, s.Broken, s.Bare, s.SRS, s.AuthorSPFFail, s.Intact, s.IntactAuthors)
}

// WriteYAML writes the proposals as a file of rules. Every rule is commented out. It has no effect
// until a person who knows the host removes the comment signs.
func WriteYAML(out io.Writer, proposals []Proposal) error {
	var b strings.Builder
	b.WriteString("# Proposed by sekimori forwarders. Anybody can send mail that looks forwarded, so\n" +
		"# nothing here is in effect: take the comment signs off the rules of hosts that\n" +
		"# you know, and delete the last line. Put the rules under policy.overrides, or\n" +
		"# into a file that it names: - {file: /etc/sekimori/forwarders.yaml}\n")
	for _, p := range proposals {
		fmt.Fprintf(&b, "\n# %s confidence, %d messages quarantined or rejected\n", p.Confidence, p.Harmed)
		if p.AuthorSPFFail > 0 {
			b.WriteString("# SPF of authors excludes this host: their mail is proposed for quarantine only\n")
		}
		b.WriteString(p.Rule.YAML("# "))
	}
	if len(proposals) == 0 {
		b.WriteString("\n# Nothing looks like a forwarder.\n")
	}
	b.WriteString("\n[] # no rule is in effect\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// YAML returns the rule as an item of policy.overrides. Every line begins with the prefix.
func (r *Rule) YAML(prefix string) string {
	return fmt.Sprintf("%[1]s- id: %[2]s\n%[1]s  owner: %[3]s\n%[1]s  reason: %[4]s\n%[1]s  expires: %[5]s\n%[1]s  when: {%[6]s}\n%[1]s  then: %[7]s\n",
		prefix, quote(r.ID), quote(r.Owner), quote(r.Reason), r.Expires, when(r.When), r.Then)
}

// quote returns s as a YAML string in double quotes.
func quote(s string) string {
	if safe := printable.Value(s); safe != s {
		return safe // YAML has all escapes that QuoteToASCII writes
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// when returns the conditions of a rule as the text between the braces of a YAML mapping.
func when(w map[string][]string) string {
	var parts []string
	for _, key := range []string{string(ARCSealer), string(DKIM), string(SPF), string(ClientName), string(Client), "author", "dmarc", "traits"} {
		if len(w[key]) == 0 {
			continue
		}
		values := make([]string, len(w[key]))
		for i, v := range w[key] {
			values[i] = quote(v)
		}
		parts = append(parts, key+": ["+strings.Join(values, ", ")+"]")
	}
	return strings.Join(parts, ", ")
}
