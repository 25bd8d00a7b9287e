package domaincheck

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/spf"
)

// SPF is what the SPF record of a domain says.
type SPF struct {
	Published bool   `json:"published"`
	Record    string `json:"record,omitempty"` // as published; missing if there are several
	// All is what the record says of a client that it does not name: fail, softfail, neutral or pass.
	// It is missing if the record cannot be used.
	All         string `json:"all,omitempty"`
	Lookups     int    `json:"lookups"`      // terms that need lookups, those of included records counted; 10 are allowed
	VoidLookups int    `json:"void_lookups"` // lookups that found nothing; 2 are allowed
	Terms       []Term `json:"terms,omitempty"`
}

// Term is a term of the record of the domain itself that needs lookups.
type Term struct {
	Text    string `json:"text"`
	Lookups int    `json:"lookups"` // with those of the record that it includes
}

// The clients for which SPF is evaluated. They are in networks for documentation, so no record names
// them, and the evaluation takes every term up to "all".
func stranger4() netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, 254}) }
func stranger6() netip.Addr { return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 0xfe}) }

// wordOf has the fault for each reason of a permerror.
var wordOf = map[spf.Reason]Word{
	spf.ReasonMultipleRecords: SPFMultiple, spf.ReasonRecordTooLong: SPFTooLong, spf.ReasonSyntax: SPFSyntax,
	spf.ReasonLookupLimit: SPFLookupLimit, spf.ReasonVoidLimit: SPFVoidLimit, spf.ReasonMXLimit: SPFMXLimit,
	spf.ReasonIncludeNone: SPFIncludeNone, spf.ReasonRedirectNone: SPFRedirectNone,
	spf.ReasonDNSLoop: SPFUnusableDNS, spf.ReasonDNSTooLarge: SPFUnusableDNS,
}

// ofSPF begins what is said if the SPF record could not be looked up.
const ofSPF = "SPF of "

// spf evaluates the SPF record for a client that it does not name.
func (l *looker) spf() {
	c := l.checkSPF(stranger4())
	s := &l.facts.SPF
	s.Record, s.Lookups, s.VoidLookups = c.Record, c.Lookups, c.VoidLookups
	s.Published = c.Record != "" || c.Reason == spf.ReasonMultipleRecords || c.Reason == spf.ReasonRecordTooLong
	switch c.Result {
	case spf.TempError:
		l.unknown(ofSPF+string(l.domain), errors.New(string(c.Reason)))
	case spf.None:
		if text, ok := looksLike(l.answered(l.domain, dns.TypeTXT), "v=spf1"); ok {
			l.add(SPFNotARecord, "this text is meant to be an SPF record, and receivers do not take it for one: %s", shown(text))
			return
		}
		l.add(SPFNone, "%s has no SPF record", l.domain)
	case spf.PermError:
		l.add(wordOf[c.Reason], "%s", shown(c.Problem))
	default:
		s.All = string(c.Result)
		l.habits(c)
	}
}

func (l *looker) checkSPF(client netip.Addr) spf.Check {
	return spf.CheckMailFrom(l.ctx, l.resolver, spf.Args{IP: client, HELO: string(l.domain), MailFrom: "postmaster@" + string(l.domain), Now: l.o.Now})
}

// habits looks for what a valid record should not do.
func (l *looker) habits(c spf.Check) {
	switch c.Result {
	case spf.Pass:
		l.add(SPFPassAll, "the record lets everybody send for %s, by %s", l.domain, shown(c.Mechanism))
	case spf.Neutral:
		l.add(SPFNeutral, "the record says neutral of every client that it does not name, by %s", shown(c.Mechanism))
	}
	if c.Lookups == spf.MaxLookups {
		l.add(SPFNearLimit, "the record needs %d lookups, the most that are allowed", c.Lookups)
	}
	record, err := spf.ParseRecord(c.Record)
	if err != nil { // it was evaluated, so there is none
		return
	}
	for i, d := range record.Directives {
		switch {
		case d.Mechanism == spf.MechanismPTR:
			l.add(SPFPTR, "the record has %s", shown(d.Text))
		case d.Mechanism == spf.MechanismAll && (i < len(record.Directives)-1 || record.Redirect != nil):
			l.add(SPFAfterAll, "terms that count come after %s", shown(d.Text))
		}
	}
	for _, m := range record.Unknown {
		if slices.Contains(mechanismNames, m.Name) {
			l.add(SPFUnknownModifier, "%s looks like a mechanism, but has = instead of a colon", shown(m.Text))
		}
	}
}

// mechanismNames are the mechanisms that somebody may have meant by a modifier of that name.
var mechanismNames = []string{"include", "a", "mx", "ptr", "ip4", "ip6", "ipv4", "ipv6", "exists"}

// terms counts the lookups of each term of the domain's own record, from the trace of an evaluation.
func terms(trace []spf.Step) []Term {
	var out []Term
	below := 0 // lookups in the included records since the last term of the record itself
	for _, s := range trace {
		needs := needsLookup(s.Term) && s.Outcome != spf.OutcomeEnter
		if redirects(s) {
			needs = true
		}
		switch {
		case s.Depth > 0 && needs:
			below++
		case needs: // the lookups of a redirect follow, those of an include came before
			out = append(out, Term{Text: s.Term, Lookups: 1 + below})
			below = 0
		}
	}
	if n := len(out); n > 0 {
		out[n-1].Lookups += below
	}
	return out
}

// redirects reports whether a step begins a redirect. A redirect has no other step, because it is the
// last term.
func redirects(s spf.Step) bool {
	return s.Outcome == spf.OutcomeEnter && strings.HasPrefix(strings.ToLower(s.Term), "redirect=")
}

// needsLookup reports whether a term counts towards the limit (RFC 7208 section 4.6.4).
func needsLookup(term string) bool {
	term = strings.ToLower(strings.TrimLeft(term, "+-~?"))
	for _, m := range []spf.Mechanism{spf.MechanismInclude, spf.MechanismA, spf.MechanismMX, spf.MechanismPTR, spf.MechanismExists} {
		if rest, ok := strings.CutPrefix(term, string(m)); ok && (rest == "" || rest[0] == ':' || rest[0] == '/') {
			return true
		}
	}
	return false
}
