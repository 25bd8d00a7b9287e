package replay

import (
	"fmt"
	"net/netip"
	"time"

	"sekimori/internal/dns"
)

// answer returns the result of the lookup that a line of the snapshot has: an answer or an error.
func (l *snapshotLine) answer() (dns.Answer, error) {
	name := dns.Name(l.Name)
	if l.Error != "" {
		e := &dns.Error{Name: name, Type: l.Type}
		if err := e.Kind.UnmarshalText([]byte(l.Error)); err != nil {
			e.Kind = dns.KindServFail // a newer version of the program wrote a kind that this version does not know
		}
		return dns.Answer{}, e
	}
	a := dns.Answer{
		Name: name, Type: l.Type, Status: l.Status, Canonical: dns.Name(l.Canonical),
		TTL: time.Duration(l.TTL) * time.Second, Authenticated: l.AD, Cached: true,
	}
	for _, r := range l.Records {
		record := dns.Record{Host: dns.Name(r.Host), Preference: r.Preference, Text: string(r.Text)}
		if r.Addr != "" {
			var err error
			if record.Addr, err = netip.ParseAddr(r.Addr); err != nil {
				return dns.Answer{}, fmt.Errorf("not an address: %w", err)
			}
		}
		a.Records = append(a.Records, record)
	}
	return a, nil
}
