package spf

import (
	"context"
	"net"
	"net/netip"
	"testing"

	other "blitiri.com.ar/go/spf"

	"sekimori/internal/dns"
	"sekimori/internal/dns/dnstest"
)

// otherResolver gives a zone the face of net.Resolver.
type otherResolver struct{ zone *dnstest.Zone }

func (r otherResolver) lookup(ctx context.Context, name string, typ dns.Type) ([]dns.Record, error) {
	n, err := dns.ParseName(name)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsNotFound: true}
	}
	ans, err := r.zone.Lookup(ctx, n, typ)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
	}
	return ans.Records, nil
}

// found makes of no records what net.Resolver does.
func found(name string, count int, err error) error {
	if err == nil && count == 0 {
		return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return err
}

func (r otherResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	records, err := r.lookup(ctx, name, dns.TypeTXT)
	var out []string
	for _, rec := range records {
		out = append(out, rec.Text)
	}
	return out, found(name, len(out), err)
}

func (r otherResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	records, err := r.lookup(ctx, name, dns.TypeMX)
	var out []*net.MX
	for _, rec := range records {
		out = append(out, &net.MX{Host: string(rec.Host), Pref: rec.Preference})
	}
	return out, found(name, len(out), err)
}

func (r otherResolver) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	var out []net.IPAddr
	for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		records, err := r.lookup(ctx, name, typ)
		if err != nil {
			return nil, err
		}
		for _, rec := range records {
			out = append(out, net.IPAddr{IP: rec.Addr.AsSlice()})
		}
	}
	return out, found(name, len(out), nil)
}

func (r otherResolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	records, err := r.lookup(ctx, string(dns.ReverseName(netip.MustParseAddr(addr))), dns.TypePTR)
	var out []string
	for _, rec := range records {
		out = append(out, string(rec.Host)+".")
	}
	return out, found(addr, len(out), err)
}

// TestSecondOpinion asks another implementation about every case, so that a
// difference is one somebody has looked at: the case's "blitiri" key then has
// the other result, and its reason says why ours is right.
func TestSecondOpinion(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.name, func(t *testing.T) {
			a := c.args()
			from := a.MailFrom
			if c.values["identity"] == "helo" {
				from = ""
			}
			zone := otherResolver{dnstest.MustParse(t, c.zone)}
			got, err := other.CheckHostWithSender(a.IP.AsSlice(), a.HELO, from, other.WithResolver(zone))
			want, differs := c.values["blitiri"]
			if !differs {
				want = c.values["result"]
			}
			if string(got) != want {
				t.Errorf("blitiri.com.ar/go/spf says %s (%v), the case %s", got, err, want)
			}
		})
	}
}
