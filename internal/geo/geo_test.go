package geo

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/testkit/countries"
)

// networks are those for documentation.
var networks = map[string]string{
	"192.0.2.0/24": "JP", "198.51.100.0/25": "US", "203.0.113.7/32": "DE", "2001:db8::/33": "FR", "2001:db8:8000::/33": "jp", "100.64.0.0/10": "\xff\xfe",
}

func TestCountry(t *testing.T) {
	for name, path := range map[string][]string{
		"MaxMind": nil, "IPinfo": {"country_code"}, "flat": {"country"}, "registered": {"registered_country", "iso_code"},
	} {
		c, err := Parse(countries.File(networks, countries.Options{Path: path}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for addr, want := range map[string]string{
			"192.0.2.0": "JP", "192.0.2.255": "JP", "::ffff:192.0.2.1": "JP", "192.0.3.0": "ZZ", "198.51.100.127": "US", "198.51.100.128": "ZZ",
			"203.0.113.7": "DE", "203.0.113.8": "ZZ", "2001:db8::1": "FR", "2001:db8:8000::1": "ZZ", "2001:db9::": "ZZ", "fe80::1%eth0": "ZZ", "100.64.0.1": "ZZ",
		} {
			if got := c.Country(netip.MustParseAddr(addr)); got != want {
				t.Errorf("%s: %s is in %s, want %s", name, addr, got, want)
			}
		}
		if got := c.Country(netip.Addr{}); got != "ZZ" {
			t.Errorf("no address is in %s", got)
		}
	}
}

func TestParse(t *testing.T) {
	good := countries.File(networks, countries.Options{})
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":         {nil, "not a file of the MaxMind DB format"},
		"an archive":    {[]byte("\x1f\x8b" + strings.Repeat("x", 1000)), "unpack it"},
		"the beginning": {good[:len(good)/2], "not a file of the MaxMind DB format"},
		"without nets":  {countries.File(nil, countries.Options{}), `of the type "Test-Country", which has no countries`},
		"a file of ASNs": {countries.File(networks, countries.Options{Type: "GeoLite2-ASN", Path: []string{"autonomous_system_organization"}}),
			`of the type "GeoLite2-ASN", which has no countries`},
	} {
		if _, err := Parse(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestBound: the last network that is looked at may be the first with a country.
func TestBound(t *testing.T) {
	all := map[string]string{}
	for i := range lookedAt {
		all[fmt.Sprintf("10.%d.%d.0/24", i/250, i%250)] = "?"
	}
	all["192.0.2.0/24"] = "JP"
	if _, err := Parse(countries.File(all, countries.Options{})); err == nil {
		t.Error("looked at more networks than lookedAt")
	}
	delete(all, "10.0.0.0/24")
	if _, err := Parse(countries.File(all, countries.Options{})); err != nil {
		t.Error(err)
	}
}

// FuzzParse: whatever a file holds, no lookup panics, and each returns two letters.
func FuzzParse(f *testing.F) {
	good := countries.File(networks, countries.Options{})
	f.Add(good)
	for i := range good {
		changed := append([]byte(nil), good...)
		changed[i] ^= 0x55
		f.Add(changed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		for _, addr := range []string{"192.0.2.1", "203.0.113.7", "2001:db8::1", "255.255.255.255", "ffff::"} {
			if got := c.Country(netip.MustParseAddr(addr)); len(got) != 2 || strings.Trim(got, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
				t.Errorf("%s: %q", addr, got)
			}
		}
	})
}

func BenchmarkCountry(b *testing.B) {
	all := map[string]string{}
	for i := range 50_000 {
		all[fmt.Sprintf("%d.%d.%d.0/24", 1+i/10_000, i/200%50, i%200)] = []string{"JP", "US", "DE", "FR", "CN"}[i%5]
	}
	c, err := Parse(countries.File(all, countries.Options{}))
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		i := n % 50_000
		n++
		if c.Country(netip.AddrFrom4([4]byte{byte(1 + i/10_000), byte(i / 200 % 50), byte(i % 200), 9})) == "ZZ" {
			b.Fatal(i)
		}
	}
}
