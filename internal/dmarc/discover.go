package dmarc

import (
	"context"

	"sekimori/internal/dns"
)

// Method is how Organizational Domains are found. Its values are those of
// discovery_method in RFC 9990.
type Method string

// The methods.
const (
	TreeWalk Method = "treewalk" // DNS tree walk (§4.10)
	PSL      Method = "psl"      // public suffix list, as in RFC 7489 §3.2
)

// Methods lists every method.
var Methods = []Method{TreeWalk, PSL}

// Suffixes finds Organizational Domains without DNS. [SuffixList] implements it.
type Suffixes interface {
	// OrganizationalDomain returns "" for a name that is itself a public suffix.
	OrganizationalDomain(dns.Name) dns.Name
}

// DefaultMaxWalks is the default limit for the tree walks that one message causes for
// its identifiers. The walk for the Author Domain does not count.
const DefaultMaxWalks = 10

// Options are the operator's choices. The zero value does what RFC 9989 asks
// for.
type Options struct {
	Method   Method   // "" means TreeWalk
	PSL      Suffixes // the list for Method PSL; if it is nil, Method is TreeWalk
	MaxWalks int      // 0 means DefaultMaxWalks
}

// Source says whose record the policy is taken from (§4.10.1).
type Source string

// The sources, in order of preference.
const (
	SourceAuthor Source = "author"
	SourceOrg    Source = "organizational"
	SourcePSD    Source = "psd"
)

// Discovery is what DNS says about an Author Domain. It keeps the answers, so that
// Evaluate asks no question twice. It is not safe for concurrent use.
type Discovery struct {
	AuthorDomain dns.Name `json:"author_domain"`
	Method       Method   `json:"method"`
	// OrganizationalDomain is the Organizational Domain of the author. It is "" until
	// a step needs it.
	OrganizationalDomain dns.Name `json:"organizational_domain,omitempty"`
	// PolicyDomain is the name at which Record was found. Without a record,
	// PolicyDomain, Source and Record are absent.
	PolicyDomain dns.Name `json:"policy_domain,omitempty"`
	Source       Source   `json:"source,omitempty"`
	Record       *Record  `json:"record,omitempty"`
	// Error is set if a failed lookup leaves the policy unknown. Record is then nil,
	// and [Evaluation.Enforcing] has what is still known of the policy.
	Error *DNSError `json:"error,omitempty"`
	Trace []Step    `json:"trace"`

	options   Options
	nodes     map[dns.Name]*node
	orgErr    *DNSError
	walked    path        // the outcome of the author's tree walk; empty before this tree walk
	existence *Step       // the query that shows whether the author exists
	possible  []published // if Error is set: the records that were found and may apply
}

// Discover finds the DMARC Policy Record for author (§4.10.1). If the author has no
// record of its own, Discover takes one from further up: with Method TreeWalk it
// makes a tree walk, with Method PSL it looks at the Organizational Domain of the
// suffix list. Discover announces all names of the walk to r (see Expect), so that r
// can look them up at the same time. If the author has a record, Discover makes no
// walk; Evaluate makes it if it needs the Organizational Domain. Discover always returns
// a Discovery. If a failed lookup leaves the policy unknown, the field Error has this
// lookup.
func Discover(ctx context.Context, r dns.Resolver, author dns.Name, o Options) *Discovery {
	if o.Method != PSL || o.PSL == nil {
		o.Method = TreeWalk
	}
	if o.MaxWalks == 0 {
		o.MaxWalks = DefaultMaxWalks
	}
	d := &Discovery{AuthorDomain: author, Method: o.Method, options: o, nodes: make(map[dns.Name]*node), Trace: []Step{}}
	if author == "" {
		return d
	}
	if o.Method == PSL {
		if org := d.bySuffix(author); org != author {
			d.expect(ctx, r, []dns.Name{author, org})
		}
	} else {
		d.expect(ctx, r, walkNames(author))
	}
	n := d.lookup(ctx, r, author, PurposeAuthor)
	switch {
	case n.record != nil:
		d.use(published{author, n.record}, SourceAuthor)
	case o.Method == PSL:
		d.discoverBySuffix(ctx, r)
	default:
		d.discoverByWalk(ctx, r)
	}
	return d
}

func (d *Discovery) use(p published, s Source) {
	d.PolicyDomain, d.Record, d.Source = p.domain, p.record, s
}

// discoverByWalk takes the record of the Organizational Domain or, if it has
// none, the record of the public suffix above it. Records in between are ignored
// (§4.10.1).
func (d *Discovery) discoverByWalk(ctx context.Context, r dns.Resolver) {
	p := d.walk(ctx, r, d.AuthorDomain, PurposePolicy)
	d.walked = p
	if p.err != nil {
		d.Error, d.possible = p.err, p.possible(d.AuthorDomain)
		return
	}
	d.OrganizationalDomain = organizationalDomain(d.AuthorDomain, p.found)
	d.use(choose(d.OrganizationalDomain, p.found))
}

// choose picks the record that applies to names below the Organizational Domain
// org from the records that a tree walk has found. If none applies, the source is
// "" (§4.10.1).
func choose(org dns.Name, found []published) (published, Source) {
	for _, p := range found {
		if p.domain == org {
			return p, SourceOrg
		}
	}
	for _, p := range found {
		if p.record.PSD == PSDYes {
			return p, SourcePSD
		}
	}
	return published{}, ""
}

// discoverBySuffix takes the record of the Organizational Domain that the public
// suffix list gives, without a tree walk (RFC 7489 §6.6.3).
func (d *Discovery) discoverBySuffix(ctx context.Context, r dns.Resolver) {
	d.OrganizationalDomain = d.bySuffix(d.AuthorDomain)
	own := d.lookup(ctx, r, d.AuthorDomain, PurposeAuthor)
	org := d.lookup(ctx, r, d.OrganizationalDomain, PurposePolicy)
	switch {
	case own.err != nil:
		d.Error = own.err
	case org.err != nil:
		d.Error = org.err
	}
	switch p := (published{d.OrganizationalDomain, org.record}); {
	case org.record == nil:
	case d.Error != nil:
		d.possible = []published{p}
	default:
		d.use(p, SourceOrg)
	}
}

// bySuffix returns the Organizational Domain of n according to the list. A
// public suffix counts as its own Organizational Domain, so no other name aligns
// with it.
func (d *Discovery) bySuffix(n dns.Name) dns.Name {
	if org := d.options.PSL.OrganizationalDomain(n); org != "" {
		return org
	}
	return n
}

// Organization returns the author's Organizational Domain. If it is not known yet,
// Organization makes a tree walk (§4.10.2), or with Method PSL takes it from the
// suffix list. A non-nil error is a [*DNSError].
func (d *Discovery) Organization(ctx context.Context, r dns.Resolver) (dns.Name, error) {
	if err := d.needOrganization(ctx, r); err != nil {
		return "", err
	}
	return d.OrganizationalDomain, nil
}

func (d *Discovery) needOrganization(ctx context.Context, r dns.Resolver) *DNSError {
	if d.OrganizationalDomain != "" || d.orgErr != nil {
		return d.orgErr
	}
	if d.Method == PSL {
		d.OrganizationalDomain = d.bySuffix(d.AuthorDomain)
		return nil
	}
	p := d.walk(ctx, r, d.AuthorDomain, PurposeOrg)
	d.walked = p
	if p.err != nil {
		d.orgErr = p.err
		return p.err
	}
	d.OrganizationalDomain = organizationalDomain(d.AuthorDomain, p.found)
	return nil
}
