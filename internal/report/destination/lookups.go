package destination

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/report"
)

// later returns the destination after a failed lookup: to be tried later, or not to be used if the
// failure is permanent.
func later(d Destination, w report.Word, what string, err error) Destination {
	d = waiting(d, what, err)
	if permanent(err) {
		d.Word = w
	}
	return d
}

// waiting returns the destination after a lookup that failed and may succeed later.
func waiting(d Destination, what string, err error) Destination {
	d.Word, d.Detail = report.Waiting, fmt.Sprintf("%s could not be looked up: %s", what, kind(err))
	return d
}

func permanent(err error) bool {
	var de *dmarc.DNSError
	if errors.As(err, &de) {
		return !temporary(de)
	}
	return dns.Permanent(err)
}

// kind returns the kind of a failure as a word.
func kind(err error) string {
	var de *dmarc.DNSError
	var e *dns.Error
	switch {
	case errors.As(err, &de):
		return de.Kind
	case errors.As(err, &e):
		return e.Kind.String()
	}
	return "failed"
}

// verify checks that a destination of another organization agreed (§4). The domain that agrees may name
// other addresses of its own, which replace the destination.
func (c *decider) verify(ctx context.Context, d Destination) []Destination {
	domain := c.facts.Job.Policy.Domain
	if d.Host == domain {
		d.Detail = "at the policy domain itself"
		return one(d)
	}
	org, err := c.policy.Organization(ctx, c.resolver)
	if err != nil {
		return one(later(d, report.WithheldUnverified, "the organizational domain of "+string(domain), err))
	}
	hostOrg, err := dmarc.Discover(ctx, c.resolver, d.Host, c.settings.Discovery).Organization(ctx, c.resolver)
	if err != nil {
		return one(later(d, report.WithheldUnverified, "the organizational domain of "+string(d.Host), err))
	}
	if org == hostOrg && !apart(domain, d.Host) {
		d.Detail = "of the same organization, " + string(org)
		return one(d)
	}
	query, err := d.Host.Prepend(string(domain) + "._report._dmarc")
	if err != nil {
		d.Word, d.Detail = report.WithheldUnverified, "external, and the name that would have to agree is too long"
		return one(d)
	}
	answer, err := c.resolver.Lookup(ctx, query, dns.TypeTXT)
	if err != nil {
		return one(later(d, report.WithheldUnverified, "the agreement at "+string(query), err))
	}
	var agreed *dmarc.Record
	for _, rr := range answer.Records {
		r, err := dmarc.ParseRecord(rr.Text)
		if err != nil {
			continue // no DMARC record: ignored (§4)
		}
		if agreed == nil || len(c.uris(agreed)) == 0 && !slices.Contains(agreed.Invalid, string(c.facts.Kind)) {
			agreed = r
		}
	}
	if agreed == nil {
		d.Word, d.Detail = report.WithheldUnverified, fmt.Sprintf("external, and there is no DMARC record at %s", query)
		return one(d)
	}
	d.Detail = fmt.Sprintf("external; agreed at %s: %s", query, shown(agreed.Raw))
	return c.replaced(d, agreed)
}

// apart reports whether two domains were registered by different owners, as far as the public suffix list
// knows. A suffix whose record lacks psd=y is the Organizational Domain of all below it (RFC 9989 §4.10.2), and
// then any of its customers could have reports sent to another.
func apart(a, b dns.Name) bool {
	x, y := suffix.Registered(a), suffix.Registered(b)
	return x != "" && y != "" && x != y
}

// uris returns the URIs of a record for the reports of this kind.
func (c *decider) uris(r *dmarc.Record) []string {
	if c.facts.Kind == Failure {
		return r.RUF
	}
	return r.RUA
}

// replaced returns what a destination becomes if the record that agreed has URIs of its own. They must
// have the same host. Otherwise the domain would have mail sent to somebody who did not agree, so it
// gets none at all.
func (c *decider) replaced(d Destination, agreed *dmarc.Record) []Destination {
	uris := c.uris(agreed)
	if len(uris) == 0 && !slices.Contains(agreed.Invalid, string(c.facts.Kind)) {
		return one(d)
	}
	withheld := d
	withheld.Word = report.WithheldUnverified
	for _, uri := range uris {
		if _, host, err := parseMailto(uri, c.settings.SMTPUTF8); err == nil && host != d.Host {
			withheld.Detail = fmt.Sprintf("external; the record that agrees names another host, %s", host)
			return one(withheld)
		}
	}
	delete(c.admitted, report.Target(d.Address))
	var out []Destination
	unused := "not a list of URIs"
	for _, uri := range uris {
		if n := c.admit(Destination{URI: uri}); n.Word == "" {
			n.Detail = d.Detail
			out = append(out, n)
		} else {
			unused = n.Detail
		}
	}
	if len(out) == 0 {
		withheld.Detail = fmt.Sprintf("external; the record that agrees has another %s, which is not used: %s", c.facts.Kind, unused)
		return one(withheld)
	}
	return out
}

// deliverable checks that the domain of a destination takes mail (RFC 5321 §5.1, RFC 7505).
func (c *decider) deliverable(ctx context.Context, d Destination) Destination {
	gone := func(detail string) Destination {
		d.Word, d.Detail, d.NoServer = report.WithheldUndeliverable, detail, true
		return d
	}
	mx, err := c.resolver.Lookup(ctx, d.Host, dns.TypeMX)
	switch {
	case err != nil:
		return later(d, report.WithheldUndeliverable, "the mail servers of "+string(d.Host), err)
	case len(mx.Records) > 0 && !slices.ContainsFunc(mx.Records, func(r dns.Record) bool { return r.Host != "" }):
		return gone(string(d.Host) + " takes no mail (null MX)")
	case len(mx.Records) > 0:
		return d
	case mx.Status == dns.NXDomain:
		return gone(string(d.Host) + " does not exist")
	}
	for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		a, err := c.resolver.Lookup(ctx, d.Host, typ)
		if err != nil {
			return later(d, report.WithheldUndeliverable, "the address of "+string(d.Host), err)
		}
		if len(a.Records) > 0 {
			return d
		}
	}
	return gone(string(d.Host) + " has neither a mail server nor an address")
}

// lookup is what the block lists say about a domain.
type lookup struct {
	zone dns.Name // that has the domain, or ""
	err  error    // a temporary failure
	at   dns.Name // the zone that failed
}

// unlisted checks the policy domain and the domain of the destination against the block lists.
func (c *decider) unlisted(ctx context.Context, d Destination) Destination {
	for _, domain := range []dns.Name{c.facts.Job.Policy.Domain, d.Host} {
		l, known := c.listed[domain]
		if !known {
			l = c.askLists(ctx, domain)
			c.listed[domain] = l
		}
		switch {
		case l.zone != "":
			d.Word, d.Detail = report.WithheldListed, fmt.Sprintf("%s is on the block list %s", domain, l.zone)
			return d
		case l.err != nil:
			return waiting(d, fmt.Sprintf("%s on the block list %s", domain, l.at), l.err)
		}
	}
	return d
}

func (c *decider) askLists(ctx context.Context, domain dns.Name) lookup {
	var l lookup
	for _, zone := range c.settings.DNSBL {
		query, err := zone.Prepend(string(domain))
		if err != nil {
			continue // a name that is too long cannot be listed
		}
		answer, err := c.resolver.Lookup(ctx, query, dns.TypeA)
		switch {
		case err != nil && !dns.Permanent(err):
			l.err, l.at = err, zone
		case err == nil && slices.ContainsFunc(answer.Records, func(r dns.Record) bool { return isListing(r.Addr) }):
			return lookup{zone: zone}
		}
	}
	return l
}

// isListing reports whether a block list's answer means that the domain is listed (RFC 5782 §2.3). An
// address outside of 127.0.0.0/8 comes from a domain that was given up, and 127.255.255.0/24 from a
// list that refuses to answer us.
func isListing(a netip.Addr) bool {
	return netip.MustParsePrefix("127.0.0.0/8").Contains(a) && !netip.MustParsePrefix("127.255.255.0/24").Contains(a)
}

// unsuppressed checks that the operator, a bounce or a refusal did not stop the destination.
func (c *decider) unsuppressed(ctx context.Context, d Destination) Destination {
	for _, target := range []string{report.Target(d.Address), report.DomainTarget(d.Address)} {
		s, err := c.facts.Suppression(ctx, target)
		if errors.Is(err, report.ErrUnknown) {
			continue
		}
		if err != nil {
			c.failed = err
			return d
		}
		if s.Suppressed(c.now) {
			d.Word = report.WithheldSuppressed
			d.Detail = fmt.Sprintf("%s is suppressed until %s by %s: %s", shown(target), s.Until.UTC().Format("2006-01-02 15:04 UTC"), s.By, shown(s.Reason))
			return d
		}
	}
	return d
}
