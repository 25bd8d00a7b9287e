package probe

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/spf"
)

const (
	maxIncludes = 3                // how deep "include" is followed
	maxTried    = 20               // how many addresses are tried
	originTime  = 10 * time.Second // how long the search may take
)

// origin returns an address that may send for the domain d by its SPF record. It returns the zero
// Addr if it finds none that is public and not in trusted.networks.
func (p *prober) origin(ctx context.Context, d dns.Name) netip.Addr {
	ctx, cancel := context.WithTimeout(ctx, originTime)
	defer cancel()
	for i, a := range p.senders(ctx, d, 0) {
		if i == maxTried {
			break
		}
		if spf.PrivateClient(a) || p.o.Config.Trusted.Contains(a) {
			continue
		}
		if c := spf.CheckMailFrom(ctx, p.o.Resolver, spf.Args{IP: a, HELO: string(d), MailFrom: "postmaster@" + string(d), Now: time.Now()}); c.Result == spf.Pass {
			return a
		}
	}
	return netip.Addr{}
}

// senders returns addresses that the SPF record of d names. CheckMailFrom decides whether they may
// send.
func (p *prober) senders(ctx context.Context, d dns.Name, depth int) (out []netip.Addr) {
	if depth > maxIncludes || ctx.Err() != nil {
		return nil
	}
	answer, err := p.o.Resolver.Lookup(ctx, d, dns.TypeTXT)
	if err != nil {
		return nil
	}
	for _, r := range answer.Records {
		record, err := spf.ParseRecord(r.Text)
		if err != nil {
			continue
		}
		for _, term := range record.Directives {
			if term.Qualifier == spf.Pass && len(out) < maxTried {
				out = append(out, p.named(ctx, d, term, depth)...)
			}
		}
		if record.Redirect != nil {
			out = append(out, p.below(ctx, record.Redirect.Value, depth)...)
		}
	}
	return out
}

// named returns addresses that one term of the record of d names.
func (p *prober) named(ctx context.Context, d dns.Name, term spf.Directive, depth int) []netip.Addr {
	at := d
	if term.DomainSpec != "" {
		name, err := dns.ParseName(term.DomainSpec)
		if err != nil {
			return nil // for example a macro
		}
		at = name
	}
	switch term.Mechanism {
	case spf.MechanismIP4, spf.MechanismIP6:
		return []netip.Addr{term.Network.Addr(), term.Network.Addr().Next()} // in a wide network the first address does not belong to a host
	case spf.MechanismA:
		return p.addresses(ctx, at)
	case spf.MechanismMX:
		answer, err := p.o.Resolver.Lookup(ctx, at, dns.TypeMX)
		if err != nil {
			return nil
		}
		var out []netip.Addr
		for _, r := range answer.Records {
			if len(out) < maxTried {
				out = append(out, p.addresses(ctx, r.Host)...)
			}
		}
		return out
	case spf.MechanismInclude:
		return p.below(ctx, term.DomainSpec, depth)
	}
	return nil
}

// below returns the senders of the domain in a term, unless the domain has macros.
func (p *prober) below(ctx context.Context, spec string, depth int) []netip.Addr {
	name, err := dns.ParseName(spec)
	if err != nil || strings.Contains(spec, "%") {
		return nil
	}
	return p.senders(ctx, name, depth+1)
}

func (p *prober) addresses(ctx context.Context, name dns.Name) (out []netip.Addr) {
	for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		answer, err := p.o.Resolver.Lookup(ctx, name, typ)
		if err != nil {
			continue
		}
		for _, r := range answer.Records {
			out = append(out, r.Addr)
		}
	}
	return out
}
