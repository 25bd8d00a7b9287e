package destination

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// When a domain is established. Spammers publish DMARC records and pass DMARC, too. A report would tell
// them that the mail arrived, and reports to their addresses make our host look like a spammer.
const (
	anyDays  = 7 // days on which the domain was seen at all
	anySince = 14
)

func (c *decider) off() (RuleState, string) {
	if c.settings.Send {
		return RulePassed, "sending is on"
	}
	return RuleApplies, "sending is off in the configuration (send: false)"
}

func (c *decider) never() (RuleState, string) {
	domain := c.facts.Job.Policy.Domain
	if entry := matching(c.settings.Never, domain, ""); entry != "" {
		return RuleApplies, fmt.Sprintf("the list never has %s", entry)
	}
	return RulePassed, fmt.Sprintf("%s is not on the list never", domain)
}

func (c *decider) loop() (RuleState, string) {
	j := c.facts.Job
	if j.Causes <= 0 {
		return RuleApplies, fmt.Sprintf("none of the %d messages is a reason to send: all are about reports", j.Messages)
	}
	return RulePassed, fmt.Sprintf("%d of the %d messages are a reason to send", j.Causes, j.Messages)
}

func (c *decider) notEstablished() (RuleState, string) {
	today, s := report.DayOf(c.now), c.facts.Seen
	if entry := matching(c.settings.Always, c.facts.Job.Policy.Domain, ""); entry != "" {
		return RulePassed, fmt.Sprintf("established: the list always has %s", entry)
	}
	passed := days("passed DMARC", s.PassDays, s.FirstPass)
	if s.Passing(today) {
		return RulePassed, "established: " + passed
	}
	seen := days("was seen", s.AnyDays, s.FirstAny)
	if s.AnyDays >= anyDays && today-s.FirstAny >= anySince {
		return RulePassed, "established: " + seen
	}
	var wrote string
	if c.settings.Correspondents {
		if s.Wrote > 0 {
			return RulePassed, "established: a user wrote to it, last on " + date(s.Wrote)
		}
		wrote = "; no user wrote to it in the last 90 days"
	}
	return RuleApplies, fmt.Sprintf("not established: it %s (%d days are needed, the first %d days ago); it %s (%d days are needed, the first %d days ago)%s",
		passed, report.PassDays, report.PassSince, seen, anyDays, anySince, wrote)
}

func days(what string, n int, first report.Day) string {
	if n == 0 {
		return what + " on no day of the last 30"
	}
	return fmt.Sprintf("%s on %d of the last 30 days, first on %s", what, n, date(first))
}

func (c *decider) spam() (RuleState, string) {
	j := c.facts.Job
	evidence := fmt.Sprintf("%d of the %d messages were marked as spam", j.Spam, j.Messages)
	if j.Spam > j.Messages-j.Spam {
		return RuleApplies, evidence
	}
	return RulePassed, evidence
}

// notRequested looks up the record as it is now, and makes its URIs the destinations.
func (c *decider) notRequested(ctx context.Context) (RuleState, string) {
	domain := c.facts.Job.Policy.Domain
	c.policy = dmarc.Discover(ctx, c.resolver, domain, c.settings.Discovery)
	if c.policy.Record == nil || c.policy.PolicyDomain != domain {
		// The record of a domain above does not count: it has a report of its own. So only the first
		// question matters, which was about the domain itself.
		var own dmarc.Step
		if len(c.policy.Trace) > 0 {
			own = c.policy.Trace[0]
		}
		switch {
		case own.Error != nil && temporary(own.Error):
			return RuleLater, fmt.Sprintf("the record of %s could not be looked up: %s", domain, own.Error.Kind)
		case own.Error != nil:
			return RuleApplies, fmt.Sprintf("the record of %s cannot be used: %s", domain, own.Error.Kind)
		}
		return RuleApplies, fmt.Sprintf("%s has no DMARC record now", domain)
	}
	record := c.policy.Record
	c.d.Record = record
	uris := record.RUA
	if c.facts.Kind == Failure {
		uris = record.RUF
		if record.PSD == dmarc.PSDYes { // RFC 9991 §4
			return RuleApplies, fmt.Sprintf("the record of %s has psd=y: failure reports must not be sent", domain)
		}
	}
	if len(uris) == 0 {
		return RuleApplies, fmt.Sprintf("the record of %s has no usable %s now: %s", domain, c.facts.Kind, shown(record.Raw))
	}
	for _, uri := range uris {
		c.d.Destinations = append(c.d.Destinations, Destination{URI: uri})
	}
	return RulePassed, fmt.Sprintf("the record of %s has %d destinations in %s: %s", domain, len(uris), c.facts.Kind, shown(record.Raw))
}

// temporary reports whether the lookup may succeed later.
func temporary(e *dmarc.DNSError) bool {
	return e.Kind != dns.KindLoop.String() && e.Kind != dns.KindTooLarge.String()
}

// admitAll makes addresses of the URIs.
func (c *decider) admitAll() {
	if len(c.d.Destinations) == 0 { // also if an earlier rule decided
		return
	}
	for i, d := range c.d.Destinations {
		c.d.Destinations[i] = c.admit(d)
	}
	if c.count("") > 0 {
		*c.rule(report.WithheldUnusable) = Rule{report.WithheldUnusable, RulePassed, c.summary(report.WithheldUnusable)}
		return
	}
	// If nothing is left because all are ours, or all on the list, that is the reason.
	word := c.d.Destinations[0].Word
	if c.count(word) != len(c.d.Destinations) {
		word = report.WithheldUnusable
	}
	*c.rule(word) = Rule{word, RuleApplies, c.summary(word)}
}

// admit parses the URI of a destination and checks what needs no DNS.
func (c *decider) admit(d Destination) Destination {
	address, host, err := parseMailto(d.URI, c.settings.SMTPUTF8)
	if err != nil {
		d.Word, d.Detail = report.WithheldUnusable, err.Error()
		return d
	}
	d.Address, d.Host, d.Detail = address, host, "usable"
	target := report.Target(address)
	same := func(own string) bool { return report.Target(own) == untagged(target) }
	switch entry := matching(c.settings.Never, host, address); {
	case entry != "":
		d.Word, d.Detail = report.WithheldNever, "the list never has "+entry
	case slices.ContainsFunc(c.settings.Own, same):
		d.Word, d.Detail = report.WithheldLoop, "this is the address of our own reports"
	case c.admitted[target]:
		d.Word, d.Detail = report.WithheldUnusable, "this address gets the report already"
	case len(c.admitted) >= c.settings.MaxDestinations:
		d.Word, d.Detail = report.WithheldUnusable, fmt.Sprintf("only the first %d destinations get reports", c.settings.MaxDestinations)
	default:
		c.admitted[target] = true
	}
	return d
}

// untagged returns an address without the "+" of its local part and what follows it. Our return paths have a
// token there.
func untagged(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	return local + "@" + domain
}

// matching returns the entry of a list that matches, or "". With an address, domain is its domain, and
// entries for policy domains do not match.
func matching(list []string, domain dns.Name, address string) string {
	for _, entry := range list {
		e := strings.ToLower(entry)
		below, isTree := strings.CutPrefix(e, ".")
		of, isDomain := strings.CutPrefix(e, "@")
		switch {
		case isTree && domain != name(below) && domain.Under(name(below)),
			isDomain && address != "" && domain == name(of),
			address == "" && domain == name(e), // a name has no empty label, and no at sign
			address != "" && e == report.Target(address):
			return entry
		}
	}
	return ""
}

// name brings a domain of the configuration into the form of a dns.Name. A domain that is not valid
// equals no name of a record.
func name(s string) dns.Name {
	n, _ := dns.ParseName(s)
	return cmp.Or(n, ".")
}

// date returns a day as 2026-11-29.
func date(d report.Day) string { return d.Time().Format(time.DateOnly) }
