// Package domaincheck looks at one domain as a receiver of its mail does: MX, SPF, DMARC with its tree
// walk, the keys of given selectors and the BIMI record. It uses the daemon's own evaluators, so what it
// says is what the daemon would do. [Look] states what is published; [Check] also follows the hosts and
// the destinations of reports, and says what to change.
package domaincheck

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/printable"
)

// Options say how a domain is looked at.
type Options struct {
	Discovery dmarc.Options
	Now       time.Time
	Seen      []Signer // keys of the domain that were seen in the ledger; only Check looks at them
}

// Mail says how a domain takes mail.
type Mail string

// The ways.
const (
	MailMX      Mail = "mx"      // by the hosts of its MX records
	MailNull    Mail = "null"    // it says that it takes none (RFC 7505)
	MailAddress Mail = "address" // it has no MX record, so by its own address (RFC 5321 section 5.1); only Check asks
	MailNone    Mail = "none"    // there is no MX record
)

// Fault is one mistake, or one thing that is missing.
type Fault struct {
	Word    Word   `json:"word"`
	Subject string `json:"subject"` // domain, mx, spf, dmarc, dkim or bimi
	Grade   Grade  `json:"grade"`   // broken, missing or weak
	Section string `json:"section"` // the document and section that say so
	Text    string `json:"text"`    // a sentence
	Do      string `json:"do"`      // what to change
}

// Facts are what a domain publishes about mail.
type Facts struct {
	Domain dns.Name `json:"domain"`
	Exists bool     `json:"exists"`
	Mail   Mail     `json:"mail,omitempty"` // mx, null, address or none; missing if it is not known
	MX     []Host   `json:"mx,omitempty"`   // by preference
	SPF    SPF      `json:"spf"`
	DMARC  DMARC    `json:"dmarc"`
	BIMI   BIMI     `json:"bimi"`
	Faults []Fault  `json:"faults"`
	// Unknown says which lookups failed for now, so that facts may be missing.
	Unknown []string `json:"unknown,omitempty"`
}

// Host is one mail server of a domain.
type Host struct {
	Name       dns.Name     `json:"name"` // "" for the null MX
	Preference uint16       `json:"preference"`
	Addresses  []netip.Addr `json:"addresses,omitempty"` // only Check asks
}

// maxHosts is the largest number of MX hosts that are kept. A domain has a handful.
const maxHosts = 20

// maxShown is the number of octets of a stranger's text in a sentence.
const maxShown = 300

func shown(s string) string { return printable.Value(printable.Clip(s, maxShown)) }

// looker looks at one domain.
type looker struct {
	ctx      context.Context
	resolver *dns.Trace
	domain   dns.Name
	o        Options
	facts    *Facts
	// discovery is nil as long as the DMARC record was not looked for, as for a domain that does not exist.
	discovery *dmarc.Discovery
}

// Look says what the domain publishes. It asks for the MX records, the SPF record and all that it
// includes, the DMARC record (with the tree walk, if the domain has none) and the BIMI record.
func Look(ctx context.Context, r dns.Resolver, domain dns.Name, o Options) Facts {
	l := newLooker(ctx, r, domain, o)
	l.look()
	return *l.facts
}

func newLooker(ctx context.Context, r dns.Resolver, domain dns.Name, o Options) *looker {
	return &looker{ctx: ctx, resolver: dns.NewTrace(r), domain: domain, o: o, facts: &Facts{Domain: domain, Exists: true, Faults: []Fault{}}}
}

func (l *looker) look() {
	if l.mx(); !l.facts.Exists {
		l.add(DomainMissing, "%s does not exist", l.domain)
		return
	}
	l.spf()
	l.dmarc()
	l.bimi()
}

// add records a fault.
func (l *looker) add(w Word, format string, args ...any) {
	k := kindOf(w)
	do := k.do
	if strings.Contains(do, "%s") {
		do = fmt.Sprintf(do, l.domain)
	}
	l.facts.Faults = append(l.facts.Faults, Fault{Word: w, Subject: k.subject, Grade: k.grade, Section: k.section, Text: fmt.Sprintf(format, args...), Do: do})
}

// unknown records a lookup that failed for now.
func (l *looker) unknown(what string, err error) {
	l.facts.Unknown = append(l.facts.Unknown, fmt.Sprintf("%s: %s", what, reason(err)))
}

// reason returns the kind of a DNS failure as a word.
func reason(err error) string {
	var failed *dns.Error
	var of *dmarc.DNSError
	switch {
	case errors.As(err, &failed):
		return failed.Kind.String()
	case errors.As(err, &of):
		return of.Kind
	}
	return err.Error()
}

func (l *looker) mx() {
	answer, err := l.resolver.Lookup(l.ctx, l.domain, dns.TypeMX)
	if err != nil {
		l.unknown("MX of "+string(l.domain), err)
		return
	}
	l.facts.Exists = answer.Exists()
	null := false
	for _, r := range answer.Records {
		null = null || r.Host == ""
		if len(l.facts.MX) < maxHosts {
			l.facts.MX = append(l.facts.MX, Host{Name: r.Host, Preference: r.Preference})
		}
		if _, err := netip.ParseAddr(string(r.Host)); err == nil {
			l.add(MXAddress, "the MX record names the address %s", r.Host)
		}
	}
	slices.SortStableFunc(l.facts.MX, func(a, b Host) int {
		if a.Preference != b.Preference {
			return int(a.Preference) - int(b.Preference)
		}
		return strings.Compare(string(a.Name), string(b.Name))
	})
	switch {
	case null && len(answer.Records) == 1:
		l.facts.Mail = MailNull
	case null:
		l.facts.Mail = MailMX
		l.add(MXNullNotOnly, "there is a null MX record, and %d others", len(answer.Records)-1)
	case len(answer.Records) > 0:
		l.facts.Mail = MailMX
	default:
		l.facts.Mail = MailNone
	}
}

// answered returns the answer to a question that was asked before, or an empty one if there was none.
func (l *looker) answered(name dns.Name, typ dns.Type) dns.Answer {
	for _, asked := range l.resolver.Lookups() {
		if asked.Name == name && asked.Type == typ && asked.Answer != nil {
			return *asked.Answer
		}
	}
	return dns.Answer{}
}

// looksLike returns the first text that seems to be meant as a record with this version, such as
// "v=spf1". It is called if none is one.
func looksLike(answer dns.Answer, version string) (string, bool) {
	bare := strings.TrimPrefix(version, "v=")
	for _, r := range answer.Records {
		text := strings.ToLower(strings.TrimLeft(r.Text, " \t\"'"))
		text = strings.ReplaceAll(text[:min(len(text), 2*len(version))], " ", "")
		if strings.HasPrefix(text, version) || strings.HasPrefix(text, bare) {
			return r.Text, true
		}
	}
	return "", false
}
