package domaincheck

import (
	"fmt"
	"slices"
	"strings"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/taglist"
)

// DMARC is the DMARC policy that applies to mail whose author has an address at the domain.
type DMARC struct {
	// Source says where the record is: author (at the domain itself), organizational or psd. It is
	// missing if there is no record.
	Source       string   `json:"source,omitempty"`
	PolicyDomain dns.Name `json:"policy_domain,omitempty"` // the domain that has the record
	Record       string   `json:"record,omitempty"`        // as published
	P            string   `json:"p,omitempty"`             // missing if it is absent or invalid
	SP           string   `json:"sp,omitempty"`            // missing if it is absent or invalid
	NP           string   `json:"np,omitempty"`            // missing if it is absent or invalid
	Testing      bool     `json:"t,omitempty"`             // t=y
	RUA          bool     `json:"rua"`                     // at least one valid URI
	RUF          bool     `json:"ruf"`
	Usable       bool     `json:"usable"` // the record makes receivers do anything
	// Policy is what the record asks receivers to do with mail of this domain that fails: none,
	// quarantine or reject, one step milder with t=y.
	Policy string `json:"policy,omitempty"`
	// Walk has the questions that led to the record, in order.
	Walk []Question `json:"walk,omitempty"`
}

// Question is one question of the tree walk.
type Question struct {
	Name  dns.Name `json:"name"`
	Found string   `json:"found"` // record, multiple, malformed, nothing, nxdomain, exists or error
	PSD   string   `json:"psd,omitempty"`
}

func (l *looker) dmarc() {
	d := dmarc.Discover(l.ctx, l.resolver, l.domain, l.o.Discovery)
	l.discovery = d
	for _, s := range d.Trace {
		l.facts.DMARC.Walk = append(l.facts.DMARC.Walk, Question{s.Name, string(s.Found), s.PSD})
	}
	for _, s := range d.Trace {
		if s.Error != nil && !permanent(s.Error) {
			l.unknown("DMARC of "+string(l.domain), s.Error)
			break
		}
	}
	own := l.ownDMARC(d)
	switch {
	case d.Error != nil && permanent(d.Error):
		l.add(DMARCUnusableDNS, "the answer for %s cannot be used: %s", d.Error.Name, d.Error.Kind)
	case d.Error != nil:
	case d.Record == nil && !own:
		l.add(DMARCNone, "neither %s nor a domain above it has a DMARC record", l.domain)
	case d.Record != nil:
		l.policy(d)
	}
}

func permanent(e *dmarc.DNSError) bool {
	return e.Kind == dns.KindLoop.String() || e.Kind == dns.KindTooLarge.String()
}

// ownDMARC looks at what the domain itself publishes but receivers discard. It returns true if it found
// something.
func (l *looker) ownDMARC(d *dmarc.Discovery) bool {
	if len(d.Trace) == 0 {
		return false
	}
	first := d.Trace[0]
	switch first.Found {
	case dmarc.FoundMultiple:
		l.add(DMARCMultiple, "%s has several DMARC records", first.Name)
	case dmarc.FoundMalformed:
		l.add(DMARCMalformed, "the record at %s gives a tag twice, so receivers discard it", first.Name)
	case dmarc.FoundNothing:
		text, ok := looksLike(l.answered(first.Name, dns.TypeTXT), "v=dmarc1")
		if ok {
			l.add(DMARCNotARecord, "this text at %s is meant to be a DMARC record, and receivers do not take it for one: %s", first.Name, shown(text))
		}
		return ok
	default:
		return false
	}
	return true
}

// policy looks at the record that applies.
func (l *looker) policy(d *dmarc.Discovery) {
	r, out := d.Record, &l.facts.DMARC
	out.Source, out.PolicyDomain, out.Record = string(d.Source), d.PolicyDomain, r.Raw
	out.P, out.SP, out.NP, out.Testing = string(r.P), string(r.SP), string(r.NP), r.Test
	out.RUA, out.RUF, out.Usable = len(r.RUA) > 0, len(r.RUF) > 0, r.Applies()
	if !r.PolicyValid() {
		what := "counts as p=none"
		if !r.Applies() {
			what = "is not used at all, because it has no rua either"
		}
		l.add(DMARCInvalidPolicy, "the record at _dmarc.%s has no valid policy and %s: %s", d.PolicyDomain, what, shown(r.Raw))
	}
	for _, tag := range r.Invalid {
		if tag != "p" && tag != "sp" && tag != "np" {
			l.add(DMARCInvalidTag, "the tag %s of the record at _dmarc.%s is not valid: %s", tag, d.PolicyDomain, shown(r.Raw))
		}
	}
	if !r.Applies() {
		return
	}
	e := d.Evaluate(l.ctx, l.resolver, nil)
	out.Policy = string(e.Disposition)
	if d.Source == dmarc.SourceAuthor {
		l.weaknesses(r)
	}
}

// weaknesses looks for what the domain's own record could do better.
func (l *looker) weaknesses(r *dmarc.Record) {
	for tag, err := range taglist.All(r.Raw) {
		if err == nil && slices.Contains([]string{"pct", "rf", "ri"}, strings.ToLower(tag.Name)) && tag.Value != usual[strings.ToLower(tag.Name)] {
			l.add(DMARCHistoric, "receivers ignore %s", shown(fmt.Sprintf("%s=%s", tag.Name, tag.Value)))
		}
	}
	strength := func(p dmarc.Policy) int {
		return slices.Index([]dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject}, p)
	}
	if r.PolicyValid() {
		if r.P == dmarc.PolicyNone {
			l.add(DMARCMonitors, "the policy is p=none")
		}
		for _, sub := range []struct {
			tag string
			p   dmarc.Policy
		}{{"sp", r.SP}, {"np", r.NP}} {
			if sub.p != "" && strength(sub.p) < strength(r.P) {
				l.add(DMARCSubdomains, "%s=%s is milder than p=%s", sub.tag, sub.p, r.P)
			}
		}
	}
	if r.Test {
		l.add(DMARCTesting, "the record has t=y")
	}
	if len(r.RUA) == 0 {
		l.add(DMARCNoRUA, "the record asks for no aggregate reports")
	}
}

// usual has the defaults of the tags of RFC 7489 that are abolished. Such a tag does no harm.
var usual = map[string]string{"pct": "100", "rf": "afrf", "ri": "86400"}
