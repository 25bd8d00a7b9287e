package domaincheck

import (
	"errors"
	"strings"

	"sekimori/internal/bimi"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
)

// BIMI is the assertion record of a domain, at the selector "default".
type BIMI struct {
	Published bool `json:"published"` // by the domain itself
	// Domain is the domain whose record counts: this one, or its Organizational Domain, for which only
	// Check asks. It is missing if there is no record.
	Domain   dns.Name `json:"domain,omitempty"`
	Record   string   `json:"record,omitempty"`   // missing if there are several
	Declined bool     `json:"declined,omitempty"` // the record says that the domain takes no part
	Location string   `json:"location,omitempty"` // the URI of the picture
	Evidence string   `json:"evidence,omitempty"` // the URI of the mark certificate
}

// bimi looks at the record of the domain itself.
func (l *looker) bimi() {
	name, answer := l.assertions(l.domain)
	l.facts.BIMI.Published = l.assertion(l.domain, name, answer)
	if l.facts.BIMI.Published {
		return
	}
	if text, ok := looksLike(answer, "v=bimi1"); ok {
		l.add(BIMINotARecord, "this text at %s is meant to be a BIMI record: %s", name, shown(text))
	}
}

// moreBIMI looks at the record of the Organizational Domain, if the domain has none, and says what else
// stands in the way of the mark.
func (l *looker) moreBIMI() {
	b := &l.facts.BIMI
	if !b.Published {
		organization, err := l.discovery.OrganizationRecord(l.ctx, l.resolver)
		if of, ok := errors.AsType[*dmarc.DNSError](err); ok && permanent(of) {
			return // which is a fault of the DMARC record
		}
		if err != nil {
			l.unknown("Organizational Domain of "+string(l.domain), err)
		}
		if organization.Domain == "" || organization.Domain == l.domain {
			return
		}
		name, answer := l.assertions(organization.Domain)
		l.assertion(organization.Domain, name, answer)
	}
	if b.Location != "" && b.Evidence == "" {
		l.add(BIMINoCertificate, "the BIMI record of %s names no mark certificate (a=)", b.Domain)
	}
}

// assertions asks for the texts at the default selector of a domain. There are none if the name would be
// too long.
func (l *looker) assertions(domain dns.Name) (name dns.Name, answer dns.Answer) {
	name, err := domain.Prepend(bimi.DefaultSelector + "._bimi")
	if err != nil {
		return name, answer
	}
	answer, err = l.resolver.Lookup(l.ctx, name, dns.TypeTXT)
	if err != nil {
		l.unknown("BIMI record of "+string(domain), err)
	}
	return name, answer
}

// assertion reads the record of a domain. It returns false if there is none.
func (l *looker) assertion(domain, name dns.Name, answer dns.Answer) bool {
	b, n := &l.facts.BIMI, 0
	for _, r := range answer.Records {
		if !isBIMI(r.Text) {
			continue
		}
		if n++; n > 1 {
			continue
		}
		b.Domain, b.Record = domain, r.Text
		record, err := bimi.ParseRecord(r.Text)
		if err != nil {
			l.add(BIMISyntax, "the BIMI record at %s cannot be used: %s", name, strings.TrimPrefix(err.Error(), bimi.ErrRecord.Error()+": "))
		}
		b.Declined, b.Location, b.Evidence = record.Declines, record.Location, record.Evidence
	}
	if n > 1 {
		b.Record, b.Declined, b.Location, b.Evidence = "", false, "", ""
		l.add(BIMIMultiple, "there are %d BIMI records at %s", n, name)
	}
	if d := &l.facts.DMARC; n == 1 && !b.Declined && (d.Policy == "" || d.Policy == "none" || d.SP == "none" || d.Testing) {
		l.add(BIMINotEnforcing, "there is a BIMI record, and the DMARC policy does not enforce")
	}
	return n > 0
}

// isBIMI reports whether a text is an assertion record, perhaps one that cannot be used.
func isBIMI(text string) bool {
	_, err := bimi.ParseRecord(text)
	return !errors.Is(err, bimi.ErrNotBIMI)
}
