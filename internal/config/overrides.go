package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"

	"sekimori/internal/config/strict"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
	"sekimori/internal/trait"
)

// Override is an item of policy.overrides: a rule, or the path of a file with
// rules. If File is set, the other fields are empty.
type Override struct {
	File    string `yaml:"file"`
	ID      string `yaml:"id"`
	Owner   string `yaml:"owner"`
	Reason  string `yaml:"reason"`
	Expires Date   `yaml:"expires"` // the last day on which the rule matches, in UTC
	When    When   `yaml:"when"`
	Then    Then   `yaml:"then"`

	from *strict.Document // the file in which the item stands (unexported fields must come last, see strict.Keys)
	path string
}

// When has the conditions of a rule; see policy.Conditions.
type When struct {
	Client     []Network      `yaml:"client"`
	ClientName []Pattern      `yaml:"client_name"`
	DKIM       []Pattern      `yaml:"dkim"`
	ARCSealer  []Pattern      `yaml:"arc_sealer"`
	SPF        []Pattern      `yaml:"spf"`
	Author     []Pattern      `yaml:"author"`
	Published  []dmarc.Policy `yaml:"published"`
	DMARC      []dmarc.Result `yaml:"dmarc"`
	Traits     []trait.Trait  `yaml:"traits"`
}

// Then is the outcome of a rule, written as an action or as {policy: P}.
type Then struct {
	Action policy.Action `yaml:"action"`
	Policy dmarc.Policy  `yaml:"policy"`
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Then) UnmarshalText(text []byte) error {
	*t = Then{Action: policy.Action(text)}
	return nil
}

// Pattern is a policy.Pattern: example.com, or .example.com for all names below
// it.
type Pattern policy.Pattern

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Pattern) UnmarshalText(text []byte) error {
	parsed, err := policy.ParsePattern(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a domain; write example.com, or .example.com for what is below it", text)
	}
	*p = Pattern(parsed)
	return nil
}

// Date is a day, written 2027-06-30 (RFC 3339).
type Date struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return fmt.Errorf("%q is not a date; write YEAR-MONTH-DAY, such as 2027-06-30", text)
	}
	d.Time = t
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.Format(time.DateOnly)), nil }

// end returns the first moment after the day, or the zero time if no day is
// set.
func (d Date) end() time.Time {
	if d.IsZero() {
		return time.Time{}
	}
	return d.AddDate(0, 0, 1)
}

// MarshalYAML writes the keys that are set.
func (o Override) MarshalYAML() (any, error) {
	var out yaml.MapSlice
	add := func(set bool, key string, value any) {
		if set {
			out = append(out, yaml.MapItem{Key: key, Value: value})
		}
	}
	add(o.File != "", "file", o.File)
	add(o.ID != "", "id", o.ID)
	add(o.Owner != "", "owner", o.Owner)
	add(o.Reason != "", "reason", o.Reason)
	add(!o.Expires.IsZero(), "expires", o.Expires)
	add(o.File == "", "when", o.When)
	add(o.Then.Action != "", "then", o.Then.Action)
	add(o.Then.Policy != "", "then", yaml.MapSlice{{Key: "policy", Value: o.Then.Policy}})
	return out, nil
}

// MarshalYAML writes the keys that are set.
func (w When) MarshalYAML() (any, error) {
	out := yaml.MapSlice{}
	add := func(n int, key string, value any) {
		if n > 0 {
			out = append(out, yaml.MapItem{Key: key, Value: value})
		}
	}
	add(len(w.Client), "client", w.Client)
	add(len(w.ClientName), "client_name", w.ClientName)
	add(len(w.DKIM), "dkim", w.DKIM)
	add(len(w.ARCSealer), "arc_sealer", w.ARCSealer)
	add(len(w.SPF), "spf", w.SPF)
	add(len(w.Author), "author", w.Author)
	add(len(w.Published), "published", w.Published)
	add(len(w.DMARC), "dmarc", w.DMARC)
	add(len(w.Traits), "traits", w.Traits)
	return out, nil
}

// rule converts an item that was checked, and that does not name a file, to a
// policy.Rule.
func (o *Override) rule() policy.Rule {
	r := policy.Rule{ID: o.ID, Expires: o.Expires.end(), Owner: o.Owner, Reason: o.Reason}
	for _, n := range o.When.Client {
		r.When.Client = append(r.When.Client, n.Prefix)
	}
	r.When.ClientName = patterns(o.When.ClientName)
	r.When.DKIM = patterns(o.When.DKIM)
	r.When.ARCSealer = patterns(o.When.ARCSealer)
	r.When.SPF = patterns(o.When.SPF)
	r.When.Author = patterns(o.When.Author)
	r.When.Published, r.When.DMARC, r.When.Traits = o.When.Published, o.When.DMARC, o.When.Traits
	r.Then = policy.Outcome{Action: o.Then.Action, Policy: o.Then.Policy}
	return r
}

func patterns(list []Pattern) []policy.Pattern {
	var out []policy.Pattern
	for _, p := range list {
		out = append(out, policy.Pattern(p))
	}
	return out
}

// maxRules is the largest number of rules in policy.overrides and its files
// together. Each rule adds a time series to the metrics and a row to the console.
const maxRules = 10_000

// ruleID matches the allowed ids of rules. They can be written without quoting
// or escaping into a label, a metric and a comment.
var ruleID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// overrides checks the rules in policy.overrides. The rules in the files named
// there are checked by Config.Rules.
func (k *checker) overrides(c *Config) {
	seen := map[string]bool{}
	for i := range c.Policy.Overrides {
		o, path := &c.Policy.Overrides[i], "policy.overrides["+strconv.Itoa(i)+"]"
		if o.File != "" {
			if o.ID != "" || o.Owner != "" || o.Reason != "" || !o.Expires.IsZero() || o.Then != (Then{}) {
				k.add(path, "an item with a file has no other key; the rules stand in the file")
			}
			continue
		}
		k.override(c, path, o)
		if seen[o.ID] && o.ID != "" {
			k.add(path+".id", "%q is the id of an earlier rule", o.ID)
		}
		seen[o.ID] = true
	}
}

// override checks one rule.
func (k *checker) override(c *Config, path string, o *Override) {
	before := len(k.list)
	if !ruleID.MatchString(o.ID) {
		k.add(path+".id", "%q is not an id; write up to 64 letters, digits, dots, hyphens and underscores", o.ID)
	}
	k.conditions(path+".when", o.When)
	k.outcome(path+".then", o.Then)
	if len(k.list) > before {
		return // CheckRule needs valid words, and further problems would only be consequences of these
	}
	if err := c.verdicts(nil).CheckRule(o.rule()); err != nil {
		switch err.Key {
		case "then", "when":
			path += "." + err.Key
		default:
			path += ".when." + err.Key
		}
		k.add(path, "rule %s: %s", o.ID, err.Why)
		return
	}
	if len(o.When.Client) > 0 && !slices.ContainsFunc(o.When.Client, func(n Network) bool { return !c.Trusted.covers(n) }) {
		k.add(path+".when.client", "rule %s can never match: mail of trusted.networks is not evaluated", o.ID)
	}
}

// covers reports whether the whole network n is trusted, so that no mail from
// it is evaluated.
func (t Trusted) covers(n Network) bool {
	return slices.ContainsFunc(t.Networks, func(trusted Network) bool {
		return trusted.Bits() <= n.Bits() && trusted.Contains(n.Addr())
	})
}

func (k *checker) conditions(path string, w When) {
	for _, key := range []struct {
		name  string
		empty bool
	}{
		{"client", empty(w.Client)}, {"client_name", empty(w.ClientName)}, {"dkim", empty(w.DKIM)}, {"arc_sealer", empty(w.ARCSealer)},
		{"spf", empty(w.SPF)}, {"author", empty(w.Author)}, {"published", empty(w.Published)},
		{"dmarc", empty(w.DMARC)}, {"traits", empty(w.Traits)},
	} {
		if key.empty {
			k.add(path+"."+key.name, "an empty list can never match; leave the key out")
		}
	}
	words(k, path+".published", w.Published, policy.PublishedValues)
	words(k, path+".dmarc", w.DMARC, policy.DMARCValues)
	words(k, path+".traits", w.Traits, trait.All())
}

// empty reports whether a list was given (is not nil) but has no items.
func empty[T any](list []T) bool { return list != nil && len(list) == 0 }

func (k *checker) outcome(path string, t Then) {
	switch {
	case t == (Then{}):
		k.add(path, "there is no outcome; write accept, tag, quarantine, reject or {policy: none}, quarantine or reject there")
	case t.Action != "" && t.Policy != "":
		k.add(path, "either an action or a policy, not both")
	case t.Action != "":
		word(k, path, t.Action, policy.OutcomeActions)
	default:
		word(k, path+".policy", t.Policy, policy.OutcomePolicies)
	}
}

// RuleSet has all rules, in order: the rules of policy.overrides and of the
// files named there.
type RuleSet struct {
	// Policy is the configured policy including the rules.
	Policy policy.Config
	items  []Override
}

// Rules reads the files named in policy.overrides with load (normally
// [LoadRules]), checks all rules, and returns them with the configured policy.
// The error is an [*Error], or several joined [*Error] values, one for each
// file that has problems.
func (c *Config) Rules(load func(path string) ([]Override, error)) (*RuleSet, error) {
	set := &RuleSet{}
	var rules []policy.Rule
	for _, o := range c.Policy.Overrides {
		if o.File == "" {
			set.items = append(set.items, o)
			continue
		}
		items, err := load(o.File)
		if err != nil {
			return nil, err
		}
		set.items = append(set.items, items...)
	}
	var found complaints
	seen := map[string]*Override{}
	for i := range set.items {
		o := &set.items[i]
		k := &checker{}
		k.override(c, o.path, o)
		if first := seen[o.ID]; first != nil {
			k.add(o.path+".id", "%q is the id of an earlier rule%s", o.ID, first.place())
		} else {
			seen[o.ID] = o
		}
		found.add(o.from, k.list)
		rules = append(rules, o.rule())
	}
	if n := len(set.items); n > maxRules {
		found.add(nil, []Problem{{Path: "policy.overrides", Message: fmt.Sprintf("%d rules are more than %d", n, maxRules)}})
	}
	if err := found.err(); err != nil {
		return nil, err
	}
	set.Policy = c.verdicts(rules)
	return set, nil
}

// verdicts returns the configured policy with these rules.
func (c *Config) verdicts(rules []policy.Rule) policy.Config {
	out := policy.Config{
		Mode: c.Mode, Reject: c.Policy.Reject, Quarantine: c.Policy.Quarantine, Learned: c.Policy.Learned, NoPolicy: c.Policy.NoPolicy, SPFFail: c.Policy.SPFFail,
		TempError: c.Policy.TempError, TempErrorUnknown: c.Policy.TempErrorUnknown, InvalidFrom: c.Policy.InvalidFrom,
		TrustedSealers: make([]dns.Name, len(c.ARC.TrustedSealers)), Rules: rules,
		Ramp: &policy.Ramp{Percent: c.Policy.Ramp.Percent, Domains: make(map[dns.Name]int, len(c.Policy.Ramp.Domains))},
		Help: policy.ReplyHelp(c.Policy.Reply.URL, c.Policy.Reply.Contact),
	}
	for i, d := range c.ARC.TrustedSealers {
		out.TrustedSealers[i] = dns.Name(d)
	}
	for d, percent := range c.Policy.Ramp.Domains {
		out.Ramp.Domains[dns.Name(d)] = percent
	}
	out.IndexRules()
	return out
}

// Warnings lists rules that have no effect: rules that have expired at the time
// now, and rules that never decide because an earlier rule matches the same
// messages. It returns nil if there are no such rules. The daemon starts in
// spite of them.
func (s *RuleSet) Warnings(now time.Time) error {
	rules := s.Policy.Rules
	var found complaints
	for i := range s.items {
		o, r := &s.items[i], &rules[i]
		if !r.Expires.IsZero() && !now.Before(r.Expires) {
			text := fmt.Sprintf("warning: rule %s has expired: its last day was %s", o.ID, o.Expires.Format(time.DateOnly))
			found.add(o.from, []Problem{{Path: o.path + ".expires", Message: text}})
			continue
		}
		s.Policy.Shadowing(i, func(j int) bool {
			if !rules[j].Shadows(r) { // a rule that shadows r does not expire before r
				return true
			}
			text := fmt.Sprintf("warning: rule %s never matches: rule %s before it%s takes the same messages", o.ID, rules[j].ID, s.items[j].place())
			found.add(o.from, []Problem{{Path: o.path, Message: text}})
			return false
		})
	}
	return found.err()
}

// place returns " (FILE:LINE)" for the rule, or "" if the rule does not come
// from a file.
func (o *Override) place() string {
	if o.from == nil {
		return ""
	}
	return fmt.Sprintf(" (%s:%d)", o.from.Name(), o.from.Line(o.path))
}

// complaints collects problems in several files. It keeps the files in the
// order in which their first problems were found.
type complaints struct {
	order []*strict.Document
	list  map[*strict.Document][]Problem
}

func (c *complaints) add(from *strict.Document, problems []Problem) {
	if len(problems) == 0 {
		return
	}
	if c.list == nil {
		c.list = map[*strict.Document][]Problem{}
	}
	if c.list[from] == nil {
		c.order = append(c.order, from)
	}
	c.list[from] = append(c.list[from], problems...)
}

// err returns the problems, with line and column, as one [*Error] for each
// file.
func (c *complaints) err() error {
	var all []error
	for _, from := range c.order {
		all = append(all, from.ErrorOf(c.list[from]))
	}
	return errors.Join(all...)
}
