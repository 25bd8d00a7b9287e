package bimi

import (
	"context"
	"strings"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
)

// Organizations finds the Organizational Domain of a message's author, with its DMARC record.
// [dmarc.Discovery] implements it.
type Organizations interface {
	OrganizationRecord(ctx context.Context, r dns.Resolver) (dmarc.Organization, error)
}

// Evaluate finds out whether the message may have a mark, and finds its assertion record. If both are
// the case, the Result is "", Query returns the question for an [Indicators], and the caller must call
// Answered. Evaluate makes at most eight lookups for names of up to five labels; r bounds them.
func Evaluate(ctx context.Context, r dns.Resolver, m *Message, orgs Organizations, o Options) *Evaluation {
	e := &Evaluation{Checks: make([]Check, 0, usualChecks)}
	signatures, ok := e.eligible(m, o)
	if !ok {
		return e
	}
	org, err := orgs.OrganizationRecord(ctx, r)
	if err != nil {
		e.end(TempError, ReasonDNS, "organization", "the Organizational Domain cannot be looked up")
		return e
	}
	if problem := enforcing(org.Record); problem != "" {
		e.end(Skipped, ReasonOrganization, "organization", "the DMARC record of "+string(org.Domain)+" "+problem)
		return e
	}
	e.good("organization", string(org.Domain))
	e.Organization = org.Domain
	selector, ok := e.selector(m, signatures)
	if !ok {
		return e
	}
	e.discover(ctx, r, m.DMARC.AuthorDomain, selector, m.From.Mailboxes[0].Local)
	if e.Result == "" && e.Evidence == "" && o.RequireCertificate {
		e.Authority = AuthorityNone
		e.end(None, ReasonNoCertificate, "certificate", "the record names no mark certificate (a=)")
	}
	return e
}

// discover finds the record of the author's domain, or else of the Organizational Domain with the same
// selector.
func (e *Evaluation) discover(ctx context.Context, r dns.Resolver, author dns.Name, selector, local string) {
	domain := author
	record, found := e.lookup(ctx, r, domain, selector)
	if !found && e.Result == "" && e.Organization != author {
		domain = e.Organization
		record, found = e.lookup(ctx, r, domain, selector)
	}
	switch {
	case e.Result != "":
		return
	case !found:
		e.end(None, ReasonNoRecord, "record", "there is no record at "+selector+"._bimi."+string(author))
		return
	}
	if own, ok := record.wants(local); ok && own != selector {
		e.LocalPart = own
		// Of the local part's record only the absence leads back to the first record.
		if better, found := e.lookup(ctx, r, domain, own); found {
			record, selector = better, own
		} else if e.Result != "" {
			return
		}
	}
	e.Domain, e.Selector = domain, selector
	if record.Declines {
		e.end(Declined, ReasonDeclined, "record", "the record at "+selector+"._bimi."+string(domain)+" says that the domain takes no part")
		return
	}
	e.Location, e.Evidence, e.Preference = record.Location, record.Evidence, record.Preference
	e.good("record", selector+"._bimi."+string(domain))
}

// lookup asks for the record of one name. found is false if there is none, or if the lookup decided the
// result.
func (e *Evaluation) lookup(ctx context.Context, r dns.Resolver, domain dns.Name, selector string) (record Record, found bool) {
	name, err := domain.Prepend(selector + "._bimi")
	if err != nil {
		return record, false // the name would be too long, so it does not exist
	}
	answer, err := r.Lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		e.end(TempError, ReasonDNS, "record", "the record at "+string(name)+" cannot be looked up")
		return record, false
	}
	for _, rr := range answer.Records {
		if !isRecord(rr.Text) {
			continue
		}
		if found {
			e.end(Fail, ReasonSeveralRecords, "record", "there are several records at "+string(name))
			return record, false
		}
		found = true
		record, err = ParseRecord(rr.Text)
	}
	if err != nil {
		e.end(Fail, ReasonRecord, "record", "the record at "+string(name)+": "+strings.TrimPrefix(err.Error(), ErrRecord.Error()+": "))
		return record, false
	}
	return record, found
}
