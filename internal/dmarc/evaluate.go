package dmarc

import (
	"cmp"
	"context"
	"slices"

	"sekimori/internal/dns"
)

// Result is the outcome of a DMARC evaluation (§9.2).
type Result string

// The results. permerror is registered (§9.2), but this package never gives it.
const (
	ResultNone      Result = "none"
	ResultPass      Result = "pass"
	ResultFail      Result = "fail"
	ResultTempError Result = "temperror"
	ResultPermError Result = "permerror"
)

// Reason says why a result is what it is.
type Reason string

// The reasons.
const (
	ReasonAligned         Reason = "aligned"              // pass: an identifier aligns
	ReasonNotAligned      Reason = "not_aligned"          // fail: no identifier aligns
	ReasonNoRecord        Reason = "no_record"            // none: there is no record (§4.10.1)
	ReasonInvalidPolicy   Reason = "invalid_policy"       // none: the record has no valid policy and no rua (§4.10.1)
	ReasonPolicyError     Reason = "policy_dns_error"     // temperror: the policy is not known
	ReasonIdentifierError Reason = "identifier_dns_error" // temperror: SPF or DKIM might have passed for a domain that aligns
	ReasonAlignmentError  Reason = "alignment_dns_error"  // temperror: an identifier might align
	ReasonExistenceError  Reason = "existence_dns_error"  // temperror: np might apply, but it is not known whether the author exists
)

// Mechanism is an Authentication Mechanism (§4.3).
type Mechanism string

// The mechanisms.
const (
	SPF  Mechanism = "spf"
	DKIM Mechanism = "dkim"
)

// State is the result of SPF or DKIM for an identifier, as far as DMARC needs
// it.
type State string

// The states. If SPF or DKIM failed permanently for a domain, the domain is not
// an identifier.
const (
	StatePass      State = "pass"
	StateTempError State = "temperror"
)

// Identifier is an Authenticated Identifier (§3.2.1), or a domain that might be
// one, but for which SPF or DKIM ended in a temporary error.
type Identifier struct {
	Mechanism Mechanism `json:"mechanism"`
	Domain    dns.Name  `json:"domain"` // for SPF the domain of MAIL FROM (of HELO if the path is null), for DKIM d=
	State     State     `json:"state"`
	Label     string    `json:"label,omitempty"` // the caller's name for the identifier, such as the selector; not interpreted
}

// Alignment is an identifier and how it compares with the Author Domain.
type Alignment struct {
	Identifier
	Mode    Mode `json:"mode"`
	Aligned bool `json:"aligned"`
	// OrganizationalDomain is that of the identifier, or "" if it was not needed.
	OrganizationalDomain dns.Name  `json:"organizational_domain,omitempty"`
	Error                *DNSError `json:"error,omitempty"` // the failed lookup that leaves Aligned unknown
}

// Evaluation is the outcome for one message and one Author Domain.
type Evaluation struct {
	Result       Result   `json:"result"`
	Reason       Reason   `json:"reason"`
	AuthorDomain dns.Name `json:"author_domain"`
	Method       Method   `json:"method"`
	// OrganizationalDomain is that of the author, or "" if it was not needed.
	OrganizationalDomain dns.Name `json:"organizational_domain,omitempty"`
	PolicyDomain         dns.Name `json:"policy_domain,omitempty"`
	Source               Source   `json:"source,omitempty"`
	Record               *Record  `json:"record,omitempty"`
	// PolicyPublished is the record's policy for this Author Domain. Tag is the tag
	// that has it. Both are "" if there is no usable record, or if np might apply
	// and it is not known whether the author exists.
	PolicyPublished Policy `json:"policy_published,omitempty"`
	Tag             string `json:"tag,omitempty"` // p, sp or np
	// Disposition is what the Domain Owner asks for if the message fails:
	// PolicyPublished, or a policy one step milder if Testing is set. It is also
	// set for a message that passes.
	Disposition  Policy `json:"disposition,omitempty"`
	Testing      bool   `json:"testing,omitempty"`       // t=y
	AuthorExists *bool  `json:"author_exists,omitempty"` // nil if that was not asked or is not known
	// Enforcing is set if Result is temperror. It is the policy that would apply if
	// the message failed, as far as it is known without the missing DNS answer. If
	// the record has t=y, Enforcing is already one step milder. If several records
	// may apply, Enforcing is the policy of the strictest record. If it is not known
	// whether sp or np applies, because the Author Domain may not exist, Enforcing is
	// the milder of the two. "" means that no policy is known.
	Enforcing Policy `json:"enforcing,omitempty"`
	// Alignments lists the identifiers that were compared, without duplicates. The
	// list begins with those that passed, followed by those with a temporary error.
	// In each group, SPF comes before DKIM.
	Alignments []Alignment `json:"alignments,omitempty"`
	// AlignedSPF and AlignedDKIM say that the mechanism passed for a domain that is
	// certain to align. If the policy is not known (a temperror), only the Author
	// Domain itself is certain to align.
	AlignedSPF  bool `json:"aligned_spf"`
	AlignedDKIM bool `json:"aligned_dkim"`
	// DNSError is the failed lookup that caused a temperror, if this package made
	// the lookup.
	DNSError *DNSError `json:"dns_error,omitempty"`
	Trace    []Step    `json:"trace"`
}

// Evaluate finds the result for a message with these identifiers (§5.3.4,
// §5.3.5). It does not ask for names that were asked for before.
func (d *Discovery) Evaluate(ctx context.Context, r dns.Resolver, ids []Identifier) Evaluation {
	e := Evaluation{
		AuthorDomain: d.AuthorDomain, Method: d.Method,
		PolicyDomain: d.PolicyDomain, Source: d.Source, Record: d.Record,
	}
	switch {
	case d.Error != nil: // §5.3.6: a DNS failure leads to temperror
		e.Result, e.Reason, e.DNSError = ResultTempError, ReasonPolicyError, d.Error
		d.alignAuthor(&e, ids)
	case d.Record == nil:
		e.Result, e.Reason = ResultNone, ReasonNoRecord
	case !d.Record.Applies():
		e.Result, e.Reason = ResultNone, ReasonInvalidPolicy
	default:
		d.align(ctx, r, &e, ids)
		d.policy(ctx, r, &e)
	}
	if e.Result == ResultTempError {
		e.Enforcing = d.enforcing(ctx, r)
	}
	e.OrganizationalDomain = d.OrganizationalDomain
	e.Trace = slices.Clone(d.Trace)
	return e
}

// align compares the identifiers and sets the result. It compares all
// identifiers that passed, even after one of them aligned, because reports tell
// SPF and DKIM apart (RFC 9990 §3.1). It compares identifiers with a temporary
// error only if no identifier that passed aligns.
func (d *Discovery) align(ctx context.Context, r dns.Resolver, e *Evaluation, ids []Identifier) {
	e.Result, e.Reason = ResultFail, ReasonNotAligned
	walks := d.options.MaxWalks
	var unsure *DNSError
	for _, state := range []State{StatePass, StateTempError} {
		if e.Result == ResultPass {
			break
		}
		for _, id := range ordered(ids, state) {
			a := d.alignOne(ctx, r, id, &walks)
			e.Alignments = append(e.Alignments, a)
			switch {
			case a.Error != nil:
				unsure = cmp.Or(unsure, a.Error)
			case a.Aligned && state == StateTempError:
				e.Result, e.Reason = ResultTempError, ReasonIdentifierError
			case a.Aligned:
				e.Result, e.Reason = ResultPass, ReasonAligned
				e.AlignedSPF = e.AlignedSPF || id.Mechanism == SPF
				e.AlignedDKIM = e.AlignedDKIM || id.Mechanism == DKIM
			}
		}
	}
	if e.Result == ResultFail && unsure != nil { // §5.3.6: a DNS failure leads to temperror
		e.Result, e.Reason, e.DNSError = ResultTempError, ReasonAlignmentError, unsure
	}
}

// ordered returns the distinct identifiers of one state, those of SPF first. A
// sender can add so many signatures that they use up all tree walks. If DKIM came
// first, there might be no tree walk left for SPF.
func ordered(ids []Identifier, state State) []Identifier {
	type key struct {
		mechanism Mechanism
		domain    dns.Name
	}
	var out []Identifier
	seen := make(map[key]bool, len(ids))
	for _, mechanism := range []Mechanism{SPF, DKIM} {
		for _, id := range ids {
			k := key{id.Mechanism, id.Domain}
			if id.Mechanism == mechanism && id.State == state && id.Domain != "" && !seen[k] {
				seen[k] = true
				out = append(out, id)
			}
		}
	}
	return out
}

// alignOne compares one identifier (§4.4).
func (d *Discovery) alignOne(ctx context.Context, r dns.Resolver, id Identifier, walks *int) Alignment {
	a := Alignment{Identifier: id, Mode: d.Record.Mode(id.Mechanism)}
	var settled bool
	if a.Aligned, settled = d.compare(a.Mode, id.Domain); settled {
		return a
	}
	failed := d.needOrganization(ctx, r)
	org := d.OrganizationalDomain
	switch {
	case !id.Domain.Under(org): // not aligned, whatever its Organizational Domain is; if org is not known, it is "", the root
	case d.Method == PSL:
		a.OrganizationalDomain = d.bySuffix(id.Domain)
	case id.Domain == org: // the author's tree walk has asked for all names of this domain's tree walk
		a.OrganizationalDomain = org
	case *walks == 0:
		a.Error = &DNSError{Kind: "walk_limit", Name: id.Domain, Type: dns.TypeTXT}
		return a
	default:
		*walks--
		p := d.walk(ctx, r, id.Domain, PurposeIdentifier)
		if failed = cmp.Or(failed, p.err); failed != nil {
			certain := false
			if a.Aligned, certain = sameOrganization(d.AuthorDomain, id.Domain, d.walked, p); !certain {
				a.Error = failed
			}
			return a
		}
		a.OrganizationalDomain = organizationalDomain(id.Domain, p.found)
	}
	a.Aligned = a.OrganizationalDomain == org
	return a
}

// compare compares a domain with the Author Domain, if that is possible without
// the Organizational Domain. If settled is false, the two align if their
// Organizational Domains are the same.
func (d *Discovery) compare(mode Mode, domain dns.Name) (aligned, settled bool) {
	switch {
	case domain == d.AuthorDomain: // aligned in either mode, without a tree walk (§4.10.2)
		return true, true
	case mode == Strict:
		return false, true
	}
	// An Organizational Domain is the domain itself or a name above it. So domains
	// with different top-level domains cannot have the same one.
	return false, domain.Keep(1) != d.AuthorDomain.Keep(1)
}

// Aligns reports whether Evaluate is certain to give a pass if an identifier of
// this domain passed. It sends no DNS query, so it may return false although
// Evaluate would find an alignment.
func (d *Discovery) Aligns(by Mechanism, domain dns.Name) bool {
	if d.Record == nil || !d.Record.Applies() {
		return false
	}
	aligned, settled := d.compare(d.Record.Mode(by), domain)
	switch {
	case settled:
		return aligned
	case d.Method == PSL:
		return d.bySuffix(domain) == d.bySuffix(d.AuthorDomain)
	}
	return domain == d.OrganizationalDomain
}

// policy sets the fields of e that say which of the record's policies applies
// (§4.10.1).
func (d *Discovery) policy(ctx context.Context, r dns.Resolver, e *Evaluation) {
	e.Testing = d.Record.Test
	a := d.applied(ctx, r, d.Record, d.Source)
	e.Tag, e.PolicyPublished, e.AuthorExists = a.tag, a.policy, a.exists
	if a.err != nil {
		e.Tag, e.PolicyPublished = "", ""
		if e.Result == ResultFail {
			e.Result, e.Reason, e.DNSError = ResultTempError, ReasonExistenceError, a.err
		}
	}
	e.Disposition = e.PolicyPublished
	if e.Testing {
		e.Disposition = e.Disposition.lower()
	}
}

// applied is the policy of a record that applies to the author.
type applied struct {
	tag    string // p, sp or np
	policy Policy
	exists *bool     // whether the author exists; nil if that was not asked or is not known
	err    *DNSError // why "exists" is not known; "tag" and "policy" are then those for an author that exists
}

func (d *Discovery) applied(ctx context.Context, r dns.Resolver, rec *Record, s Source) applied {
	var a applied
	switch {
	case !rec.PolicyValid(): // a record without a valid policy stands for p=none
		a.tag, a.policy = "p", PolicyNone
	case s == SourceAuthor || rec.SP == "":
		a.tag, a.policy = "p", rec.P
	default:
		a.tag, a.policy = "sp", rec.SP
	}
	if s == SourceAuthor || !rec.PolicyValid() || rec.NP == "" {
		return a
	}
	exists, err := d.authorExists(ctx, r)
	switch {
	case err == nil:
		a.exists = &exists
		if !exists {
			a.tag, a.policy = "np", rec.NP
		}
	case rec.NP != a.policy: // if both policies are the same, it does not matter whether the author exists
		a.err = err
	}
	return a
}

// authorExists reports whether the Author Domain exists in DNS (§3.2.13), with or
// without records. If DNS has the name with _dmarc in front, it has the domain too
// (RFC 8020). Otherwise DNS is asked for the domain itself. A domain that is an
// alias of a missing name does exist (RFC 6604 §3).
func (d *Discovery) authorExists(ctx context.Context, r dns.Resolver) (bool, *DNSError) {
	if d.lookup(ctx, r, d.AuthorDomain, PurposeAuthor).exists {
		return true, nil
	}
	if d.existence == nil {
		d.existence = d.askAuthor(ctx, r)
		d.Trace = append(d.Trace, *d.existence)
	}
	return d.existence.Found != FoundNXDomain, d.existence.Error
}

func (d *Discovery) askAuthor(ctx context.Context, r dns.Resolver) *Step {
	step := &Step{Name: d.AuthorDomain, Type: dns.TypeA, Purpose: PurposeExistence, Found: FoundExists}
	answer, err := r.Lookup(ctx, d.AuthorDomain, dns.TypeA)
	switch {
	case err != nil:
		step.Found, step.Error = FoundError, newDNSError(d.AuthorDomain, dns.TypeA, err)
	case !answer.Exists():
		step.Found = FoundNXDomain
	}
	return step
}
