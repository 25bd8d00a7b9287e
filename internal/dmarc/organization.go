package dmarc

import (
	"context"
	"maps"

	"sekimori/internal/dns"
)

// Organization is the Organizational Domain of an author, with its own record.
type Organization struct {
	Domain dns.Name `json:"domain"`
	Record *Record  `json:"record,omitempty"` // nil if it has none, or several
}

// OrganizationRecord returns the author's Organizational Domain and its record, also if the author has
// a record of its own. It asks for the names that the evaluation did not need. A non-nil error is a
// [*DNSError]. OrganizationRecord does not change d, so a caller whose lookups failed may call it again.
func (d *Discovery) OrganizationRecord(ctx context.Context, r dns.Resolver) (Organization, error) {
	if d.AuthorDomain == "" {
		return Organization{}, nil
	}
	apart := *d
	apart.nodes, apart.Trace = maps.Clone(d.nodes), nil
	if err := apart.needOrganization(ctx, r); err != nil {
		return Organization{}, err
	}
	n := apart.lookup(ctx, r, apart.OrganizationalDomain, PurposeOrg)
	if n.err != nil {
		return Organization{}, n.err
	}
	return Organization{Domain: apart.OrganizationalDomain, Record: n.record}, nil
}
