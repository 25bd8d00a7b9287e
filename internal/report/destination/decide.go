package destination

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report"
)

// decider makes one Decision.
type decider struct {
	resolver dns.Resolver
	settings Settings
	facts    Facts
	now      time.Time
	policy   *dmarc.Discovery // of the policy domain, from the rule not_requested on
	listed   map[dns.Name]lookup
	admitted map[string]bool // the targets of the addresses that may get a report
	d        Decision
	ended    bool  // a rule about the whole report applied
	failed   error // of Facts.Suppression
}

// Decide applies the rules to one report. A temporary DNS failure is no error: the report or the
// destination then has the word report.Waiting and a sentence that says what failed. The error is that
// of ctx or of Facts.Suppression.
func Decide(ctx context.Context, r dns.Resolver, s Settings, f Facts, now time.Time) (Decision, error) {
	if f.Kind == "" {
		f.Kind = Aggregate
	}
	if s.MaxDestinations <= 0 {
		s.MaxDestinations = UsualDestinations
	}
	s.MaxDestinations = min(s.MaxDestinations, MaxDestinations)
	s.DNSBL = s.DNSBL[:min(len(s.DNSBL), MaxZones)]
	c := &decider{resolver: r, settings: s, facts: f, now: now, listed: map[dns.Name]lookup{}, admitted: map[string]bool{}}
	for _, word := range report.Withheld {
		c.d.Rules = append(c.d.Rules, Rule{word, RuleSkipped, "not checked, because an earlier rule decided"})
	}
	c.whole(report.WithheldOff, c.off)
	c.whole(report.WithheldNever, c.never)
	c.whole(report.WithheldLoop, c.loop)
	c.whole(report.WithheldNotEstablished, c.notEstablished)
	c.whole(report.WithheldSpam, c.spam)
	c.whole(report.WithheldNotRequested, func() (RuleState, string) { return c.notRequested(ctx) })
	c.admitAll()
	c.each(report.WithheldUnverified, func(d Destination) []Destination { return c.verify(ctx, d) })
	c.each(report.WithheldUndeliverable, func(d Destination) []Destination { return one(c.deliverable(ctx, d)) })
	c.each(report.WithheldListed, func(d Destination) []Destination { return one(c.unlisted(ctx, d)) })
	c.each(report.WithheldSuppressed, func(d Destination) []Destination { return one(c.unsuppressed(ctx, d)) })
	if c.failed != nil {
		return c.d, fmt.Errorf("destination: %w", c.failed)
	}
	if err := ctx.Err(); err != nil {
		return c.d, fmt.Errorf("destination: %w", err) // lookups may have failed because of it
	}
	c.conclude()
	return c.d, nil
}

func one(d Destination) []Destination { return []Destination{d} }

// rule returns the entry of a rule.
func (c *decider) rule(w report.Word) *Rule {
	return &c.d.Rules[slices.IndexFunc(c.d.Rules, func(r Rule) bool { return r.Word == w })]
}

// whole checks a rule about the report as a whole.
func (c *decider) whole(w report.Word, check func() (RuleState, string)) {
	if c.ended && !c.facts.All {
		return
	}
	r := c.rule(w)
	r.State, r.Evidence = check()
	if c.ended || r.State == RulePassed {
		return
	}
	c.ended, c.d.Word, c.d.Reason = true, w, r.Evidence
	if r.State == RuleLater {
		c.d.Word = report.Waiting
	}
}

// each checks a rule on every destination that is left. A destination may become several, or none.
func (c *decider) each(w report.Word, check func(Destination) []Destination) {
	if c.count("") == 0 {
		return
	}
	var all []Destination
	for _, d := range c.d.Destinations {
		if d.Word != "" {
			all = append(all, d)
			continue
		}
		all = append(all, check(d)...)
		if c.failed != nil {
			return
		}
	}
	waiting := c.count(report.Waiting)
	c.d.Destinations = all
	state := RulePassed
	switch {
	case c.count(report.Waiting) > waiting:
		state = RuleLater
	case c.count("")+waiting == 0:
		state = RuleApplies
	}
	*c.rule(w) = Rule{w, state, c.summary(w)}
}

func (c *decider) count(w report.Word) int {
	n := 0
	for _, d := range c.d.Destinations {
		if d.Word == w {
			n++
		}
	}
	return n
}

// maxShown bounds the length of a stranger's text in a sentence, in octets, and maxNamed the number of
// destinations in it.
const (
	maxShown = 200
	maxNamed = 5
)

// shown returns a stranger's text for a sentence.
func shown(s string) string { return printable.Value(printable.Clip(s, maxShown)) }

// summary says which destinations a rule took out, or what it found out about those that are left.
func (c *decider) summary(w report.Word) string {
	var out []string
	for _, took := range []bool{true, false} {
		for _, d := range c.d.Destinations {
			if (took && (d.Word == w || d.Word == report.Waiting)) || (!took && d.Word == "") {
				out = append(out, d.name()+": "+d.Detail)
			}
		}
	}
	if more := len(out) - maxNamed; more > 0 {
		out = append(out[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, "; ")
}

// name returns the address, or the URI if it has no usable address.
func (d Destination) name() string {
	if d.Address != "" {
		return shown(d.Address)
	}
	return shown(d.URI)
}

// conclude sets the word of the report from those of its destinations.
func (c *decider) conclude() {
	if c.ended {
		return
	}
	switch {
	case c.count("") > 0:
		return
	case c.count(report.Waiting) > 0:
		c.d.Word = report.Waiting
		i := slices.IndexFunc(c.d.Rules, func(r Rule) bool { return r.State == RuleLater })
		c.d.Reason = c.d.Rules[i].Evidence
		return
	}
	for _, r := range c.d.Rules {
		if r.State == RuleApplies {
			c.d.Word, c.d.Reason = r.Word, r.Evidence
		}
	}
}
