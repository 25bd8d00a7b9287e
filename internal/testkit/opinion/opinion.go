// Package opinion asks another SPF implementation for its result, so that tests can compare it with
// ours. For tests only.
package opinion

import (
	"context"
	"net"
	"net/netip"

	"blitiri.com.ar/go/spf"

	"sekimori/internal/dns"
)

// SPF returns the result of blitiri.com.ar/go/spf and the reason that it gives. mailFrom has no
// angle brackets. If it is "", the HELO identity is checked.
func SPF(r dns.Resolver, ip netip.Addr, helo, mailFrom string) (result string, why error) {
	got, why := spf.CheckHostWithSender(ip.AsSlice(), helo, mailFrom, spf.WithResolver(netResolver{r}))
	return string(got), why
}

// netResolver adapts a dns.Resolver to the interface that the other implementation needs, which has
// methods of net.Resolver.
type netResolver struct{ dns.Resolver }

func (r netResolver) lookup(ctx context.Context, name string, typ dns.Type) ([]dns.Record, error) {
	n, err := dns.ParseName(name)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsNotFound: true}
	}
	answer, err := r.Lookup(ctx, n, typ)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
	}
	return answer.Records, nil
}

// orNotFound returns a "not found" error if there are no records, as net.Resolver does.
func orNotFound[T any](name string, out []T, err error) ([]T, error) {
	if err == nil && len(out) == 0 {
		err = &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return out, err
}

// LookupTXT and the methods below have the signatures of net.Resolver's methods.
func (r netResolver) LookupTXT(ctx context.Context, name string) (out []string, _ error) {
	records, err := r.lookup(ctx, name, dns.TypeTXT)
	for _, rec := range records {
		out = append(out, rec.Text)
	}
	return orNotFound(name, out, err)
}

func (r netResolver) LookupMX(ctx context.Context, name string) (out []*net.MX, _ error) {
	records, err := r.lookup(ctx, name, dns.TypeMX)
	for _, rec := range records {
		out = append(out, &net.MX{Host: string(rec.Host), Pref: rec.Preference})
	}
	return orNotFound(name, out, err)
}

func (r netResolver) LookupIPAddr(ctx context.Context, name string) (out []net.IPAddr, _ error) {
	for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		records, err := r.lookup(ctx, name, typ)
		if err != nil {
			return nil, err
		}
		for _, rec := range records {
			out = append(out, net.IPAddr{IP: rec.Addr.AsSlice()})
		}
	}
	return orNotFound(name, out, nil)
}

func (r netResolver) LookupAddr(ctx context.Context, addr string) (out []string, _ error) {
	records, err := r.lookup(ctx, string(dns.ReverseName(netip.MustParseAddr(addr))), dns.TypePTR)
	for _, rec := range records {
		out = append(out, string(rec.Host)+".")
	}
	return orNotFound(addr, out, err)
}
