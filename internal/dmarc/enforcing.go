package dmarc

import (
	"context"
	"slices"

	"sekimori/internal/dns"
)

// A message whose result is open is not treated better than one that fails by
// a policy that is known: whoever can keep an answer away must gain nothing by
// it. This file finds what is known where a name of the walk could not be asked.

// possible returns the records of an incomplete walk that may apply to start,
// whatever the names that failed hold. A name that failed mostly holds nothing,
// as most names do; then the record is the one that [choose] takes. It may also
// be a public suffix (psd=y), which makes the name below it the Organizational
// Domain. A record of its own at the name that failed is not known, and nothing
// can be said of it.
func (p path) possible(start dns.Name) []published {
	var out []published
	if usual, source := choose(organizationalDomain(start, p.found), p.found); source != "" {
		out = append(out, usual)
	}
	for _, f := range p.found {
		if slices.Contains(p.failed, f.domain.Parent()) && !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// enforcing is [Evaluation.Enforcing] of a temperror.
func (d *Discovery) enforcing(ctx context.Context, r dns.Resolver) Policy {
	if d.Error == nil {
		return d.atLeast(ctx, r, d.Record, d.Source)
	}
	var strictest Policy
	for _, p := range d.possible {
		if !p.record.Applies() {
			continue // leads to the result none
		}
		if policy := d.atLeast(ctx, r, p.record, SourceOrg); policy.strictness() > strictest.strictness() {
			strictest = policy
		}
	}
	return strictest
}

// atLeast is the policy that a record asks for, the milder of two where it
// depends on whether the author exists and that is not known: who picks a name
// that exists gets that one anyway.
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

// alignAuthor says what is certain of alignment where the policy is not known:
// the Author Domain itself aligns in either mode (§4.4). No other domain does,
// since the record that could not be had may ask for strict alignment.
func (d *Discovery) alignAuthor(e *Evaluation, ids []Identifier) {
	for _, id := range ordered(ids, StatePass) {
		if id.Domain == d.AuthorDomain {
			e.Alignments = append(e.Alignments, Alignment{Identifier: id, Mode: Strict, Aligned: true})
			e.AlignedSPF = e.AlignedSPF || id.Mechanism == SPF
			e.AlignedDKIM = e.AlignedDKIM || id.Mechanism == DKIM
		}
	}
}
