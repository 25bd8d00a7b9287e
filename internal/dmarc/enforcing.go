package dmarc

import (
	"context"
	"slices"

	"sekimori/internal/dns"
)

// An attacker who can suppress a DNS answer must gain nothing by it. So a
// message whose result is uncertain must not be treated better than a message
// that fails under the policy that is known. The functions below find out what
// is known of the policy after a lookup of the tree walk has failed.

// possible returns the records that an incomplete tree walk found and that may
// apply to the domain "start", where the walk began. For a name whose lookup
// failed there are three possibilities. If the name has no record, as is usual,
// the record that [choose] takes applies. If it is a public suffix (psd=y), the
// name below it is the Organizational Domain. If it has another record, that
// record may apply, but its policy is not known.
func (p path) possible(start dns.Name) []published {
	var out []published
	if usual, source := choose(organizationalDomain(start, p.found), p.found); source != "" {
		out = append(out, usual)
	}
	for _, f := range p.found {
		if slices.Contains(p.failed, f.domain.Parent()) {
			out = append(out, f) // perhaps the second time, which does no harm
		}
	}
	return out
}

// enforcing returns [Evaluation.Enforcing] for a temperror.
func (d *Discovery) enforcing(ctx context.Context, r dns.Resolver) Policy {
	if d.Error == nil {
		return d.atLeast(ctx, r, d.Record, d.Source)
	}
	var strictest Policy
	for _, p := range d.possible {
		if !p.record.Applies() {
			continue // with this record the result would be none
		}
		if policy := d.atLeast(ctx, r, p.record, SourceOrg); policy.strictness() > strictest.strictness() {
			strictest = policy
		}
	}
	return strictest
}

// atLeast returns the policy that a record asks for; with t=y it is one step
// milder. The policy may depend on whether the author exists. If that is not
// known, atLeast returns the milder of the two policies, because an attacker can
// choose an author for whom the milder policy is right.
func (d *Discovery) atLeast(ctx context.Context, r dns.Resolver, rec *Record, s Source) Policy {
	a := d.applied(ctx, r, rec, s)
	if a.err != nil && rec.NP.strictness() < a.policy.strictness() {
		a.policy = rec.NP
	}
	if rec.Test {
		return a.policy.lower()
	}
	return a.policy
}

// alignAuthor sets the alignments that are certain although the policy is not
// known. The Author Domain itself aligns in either mode (§4.4). For another
// domain this is not certain, because the missing record might ask for strict
// alignment.
func (d *Discovery) alignAuthor(e *Evaluation, ids []Identifier) {
	for _, id := range ordered(ids, StatePass) {
		if id.Domain == d.AuthorDomain {
			e.Alignments = append(e.Alignments, Alignment{Identifier: id, Mode: Strict, Aligned: true})
			e.AlignedSPF = e.AlignedSPF || id.Mechanism == SPF
			e.AlignedDKIM = e.AlignedDKIM || id.Mechanism == DKIM
		}
	}
}
