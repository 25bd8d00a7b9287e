package bimi

import (
	"slices"
	"strings"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/mailaddr/author"
)

// Message is what BIMI needs to know of a message. Its parts are not changed.
type Message struct {
	From  *author.From
	DKIM  []dkim.Signature
	DMARC *dmarc.Evaluation
	// Selectors has the values of all BIMI-Selector fields.
	Selectors []string
}

// Options are the operator's choices.
type Options struct {
	// RequireCertificate means that only a mark for which a certificate vouches is shown.
	RequireCertificate bool
	// RequireDKIM means that a DMARC pass by SPF alone is not enough.
	RequireDKIM bool
}

// eligible looks at everything that needs no lookup. It adds its checks to e and returns false if the
// message can have no mark. signatures are those that prove the author.
func (e *Evaluation) eligible(m *Message, o Options) (signatures []*dkim.Signature, ok bool) {
	d := m.DMARC
	if d.Result != dmarc.ResultPass {
		e.end(Skipped, ReasonDMARC, "dmarc", "DMARC is "+string(d.Result)+"; only a message that passes can have a mark")
		return nil, false
	}
	e.good("dmarc", "")
	switch {
	case len(m.From.Mailboxes) != 1:
		e.end(Skipped, ReasonFrom, "from", "From names several mailboxes; a mark needs exactly one")
		return nil, false
	case slices.ContainsFunc(m.From.Notes, func(n author.Note) bool { return n != author.NoteSlip }):
		e.end(Skipped, ReasonFrom, "from", "the display name in From shows an address of another domain")
		return nil, false
	}
	e.good("from", "")
	signatures, why := authorSignatures(m)
	switch {
	case len(signatures) > 0:
		e.good("dkim", "signed by "+string(signatures[0].Domain))
	case o.RequireDKIM:
		e.end(Skipped, ReasonDKIM, "dkim", why)
		return nil, false
	default:
		e.good("dkim", "not needed (bimi.require_dkim: false)")
	}
	if d.Source == dmarc.SourcePSD {
		e.end(Skipped, ReasonRegistry, "policy", "the DMARC policy is that of the registry "+string(d.PolicyDomain)+"; publish one for the author's domain")
		return nil, false
	}
	if problem := enforcing(d.Record); problem != "" {
		e.end(Skipped, ReasonPolicy, "policy", "the DMARC record of "+string(d.PolicyDomain)+" "+problem)
		return nil, false
	}
	if !d.PolicyPublished.Enforces() { // p= enforces, so this is sp= or np=
		e.end(Skipped, ReasonPolicy, "policy", "the DMARC policy that applies to "+string(d.AuthorDomain)+" is not quarantine or reject")
		return nil, false
	}
	e.good("policy", d.Tag+"="+string(d.PolicyPublished)+" at "+string(d.PolicyDomain))
	return signatures, true
}

// enforcing returns why the policy of a DMARC record is not enforced, or "". RFC 9989 ignores pct;
// BIMI does not.
func enforcing(r *dmarc.Record) string {
	switch {
	case r == nil:
		return "is missing"
	case !r.PolicyValid():
		return "has no valid policy"
	case !r.P.Enforces():
		return "has p=none; it must be quarantine or reject"
	case r.SP == dmarc.PolicyNone:
		return "has sp=none; it must be quarantine or reject, or absent"
	case r.Test:
		return "has t=y, so its policy is only tested"
	case r.P == dmarc.PolicyQuarantine && r.Percent != "" && r.Percent != "100":
		return "has p=quarantine with a pct below 100"
	}
	return ""
}

// authorSignatures returns the signatures that prove the author and leave nothing of the body open. If
// there is none, why says what is missing.
func authorSignatures(m *Message) (found []*dkim.Signature, why string) {
	why = "no DKIM signature of the author's domain passes"
	for i := range m.DKIM {
		s := &m.DKIM[i]
		switch {
		case s.Result != dkim.Pass || !aligned(m.DMARC, s):
		case s.Testing:
			why = "the key of the author's signature has t=y, so it is only tested"
		case s.Uncovered > 0:
			why = "the author's signature has l= and does not cover the whole body"
		case !covers(s, "From"):
			why = "the author's signature does not cover From"
		default:
			found = append(found, s)
		}
	}
	return found, why
}

func aligned(d *dmarc.Evaluation, s *dkim.Signature) bool {
	return slices.ContainsFunc(d.Alignments, func(a dmarc.Alignment) bool {
		return a.Aligned && a.Mechanism == dmarc.DKIM && a.State == dmarc.StatePass && a.Domain == s.Domain
	})
}

// covers reports whether h= of s names the field.
func covers(s *dkim.Signature, field string) bool {
	return slices.ContainsFunc(s.SignedHeaders, func(h string) bool { return strings.EqualFold(strings.Trim(h, " \t"), field) })
}

// selector returns the selector of the message. ok is false if there are several BIMI-Selector fields.
func (e *Evaluation) selector(m *Message, signatures []*dkim.Signature) (selector string, ok bool) {
	switch len(m.Selectors) {
	case 0:
		return DefaultSelector, true
	case 1:
	default:
		e.end(Fail, ReasonSeveralSelectors, "selector", "there are several BIMI-Selector fields")
		return "", false
	}
	if !slices.ContainsFunc(signatures, func(s *dkim.Signature) bool { return covers(s, SelectorField) }) {
		e.good("selector", "BIMI-Selector is ignored: no signature of the author's covers it")
		return DefaultSelector, true
	}
	if selector = ParseSelector(m.Selectors[0]); selector == "" {
		e.good("selector", "BIMI-Selector is ignored: it is not valid")
		return DefaultSelector, true
	}
	e.good("selector", selector)
	return selector, true
}
