package readiness

import (
	"strings"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/forwarders"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// Sample looks at a message. It ignores one that no published policy would have hit, and any beyond
// MaxSamples. e may be the evaluation that the history kept. It returns whether the message counts.
func (j *Judge) Sample(id string, e *msgauth.Evaluation) bool {
	if e == nil || e.DMARC.Result != dmarc.ResultFail || !e.DMARC.PolicyPublished.Enforces() || len(j.samples) >= MaxSamples || j.known[id] {
		return false
	}
	owner := suffix.Owner(e.From.AuthorDomain)
	if owner == "" {
		return false
	}
	s := sample{
		id: id, owner: dns.Name(strings.Clone(string(owner))), now: policy.Decide(e, j.setup.Policy).Action,
		other: handedOn(e, owner), listSigned: e.Has(trait.ListSignature), srs: mailaddr.IsSRS(strings.TrimPrefix(e.Envelope.MailFrom, "<")),
		authorHost: e.Has(trait.AuthorHost), recordBroken: e.Has(trait.AuthorRecordBroken),
		spfFail: e.MailFrom.Result == spf.Fail && e.MailFrom.Domain.Under(owner),
	}
	if !e.Session.Unknown() {
		s.client, s.network = e.Session.Client.Unmap().WithZone(""), ledger.NetworkOf(e.Session.Client)
	}
	s.listed = e.Has(trait.List) || e.Has(trait.ListSignature) || e.Has(trait.ARC)
	s.indirect = s.listed || e.Has(trait.SRS) || e.Has(trait.Forwarded)
	r := forwarders.RecordOf(e, s.now)
	if kind, value, ok := r.Identity(); ok {
		s.host = hostKey{kind, value}
	}
	s.name = r.IPRevName
	for i := range e.DKIM {
		d := &e.DKIM[i]
		if len(s.keys) < maxSelectors && d.Selector != "" && d.Domain != "" && d.Domain.Under(owner) && msgauth.IsBroken(d.Reason) {
			s.keys = append(s.keys, keyName(d.Domain, d.Selector))
		}
	}
	j.samples = append(j.samples, s)
	j.known[id] = id != ""
	return true
}

func keyName(d dns.Name, selector string) string { return string(d) + " " + selector }

// handedOn reports whether a domain that is not the author's authenticated: by a signature, by SPF or by
// an ARC chain.
func handedOn(e *msgauth.Evaluation, owner dns.Name) bool {
	if e.ARC.Status == arc.Pass || e.MailFrom.Result == spf.Pass && !e.MailFrom.Domain.Under(owner) {
		return true
	}
	for i := range e.DKIM {
		if e.DKIM[i].Result == dkim.Pass && !e.DKIM[i].Domain.Under(owner) {
			return true
		}
	}
	return false
}
