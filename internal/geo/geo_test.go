package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/oschwald/maxminddb-golang/v2"

	"sekimori/internal/testkit/countries"
)

// networks are those for documentation.
var networks = map[string]string{
	"192.0.2.0/24": "JP", "198.51.100.0/25": "US", "203.0.113.7/32": "DE", "2001:db8::/33": "FR", "2001:db8:8000::/33": "jp", "100.64.0.0/10": "\xff\xfe",
}

// ignore is for those who do not ask about damage.
func ignore(error) {}

// TestDamaged changes octets of a file. It is refused, or its lookups say "unknown" and report it at most once.
func TestDamaged(t *testing.T) {
	good := countries.File(networks, countries.Options{})
	refused, broke, reported := 0, 0, 0
	for i := range good {
		for _, x := range []byte{0x01, 0x55, 0x80, 0xff} {
			data := append([]byte(nil), good...)
			data[i] ^= x
			times := 0
			c, err := Parse(data, func(err error) {
				if !strings.HasPrefix(err.Error(), "geo: the file is damaged; fetch it again") {
					t.Error(err)
				}
				times++
			})
			if err != nil {
				refused++
				if errors.Is(err, errDamaged) {
					broke++
				}
				continue
			}
			for network := range networks {
				addr := netip.MustParsePrefix(network).Addr()
				if got := c.Country(addr); len(got) != 2 {
					t.Errorf("octet %d: %q", i, got)
				}
				if times == 0 && broken(c.lookup(addr)) {
					t.Errorf("octet %d: the damage at %s is not reported", i, addr)
				}
			}
			if times > 1 {
				t.Errorf("octet %d: reported %d times", i, times)
			}
			reported += times
		}
	}
	if refused == 0 || broke == 0 || reported == 0 {
		t.Errorf("%d files were refused, %d of them as damaged, damage was reported of %d", refused, broke, reported)
	}
}

// broken reports whether the reader finds damage, in the tree or in the value at the first of places.
func broken(found maxminddb.Result) bool {
	var bad maxminddb.InvalidDatabaseError
	var text string
	return errors.As(found.Err(), &bad) || errors.As(found.DecodePath(&text, places[0]...), &bad)
}

// TestPanic: a panic of the reader ends nothing.
func TestPanic(t *testing.T) {
	var errs []error
	c, err := Parse(countries.File(networks, countries.Options{}), func(err error) { errs = append(errs, err) })
	if err != nil {
		t.Fatal(err)
	}
	real := c.lookup
	c.lookup = func(netip.Addr) maxminddb.Result { panic("index out of range [7] with length 5") }
	for range 3 {
		if got := c.Country(netip.MustParseAddr("192.0.2.1")); got != "ZZ" {
			t.Errorf("%q", got)
		}
	}
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "its reader failed: index out of range") {
		t.Errorf("%v", errs)
	}
	c.lookup = real
	if got := c.Country(netip.MustParseAddr("192.0.2.1")); got != "JP" {
		t.Errorf("afterwards: %q", got)
	}
}

// TestPanicAtParse: neither a panic at the opening of a file nor one at the look at its networks ends anything.
func TestPanicAtParse(t *testing.T) {
	for name, open := range map[string]func() (*maxminddb.Reader, error){
		"at the opening": func() (*maxminddb.Reader, error) { panic("index out of range") },
		"afterwards":     func() (*maxminddb.Reader, error) { return nil, nil },
	} {
		if c, err := parse(open, ignore); c != nil || !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

// TestOneFamily: what a file of IPv4 says of an IPv6 address does not mean damage.
func TestOneFamily(t *testing.T) {
	if err := damage(errors.New("you attempted to look up an IPv6 address in an IPv4-only database")); err != nil {
		t.Error(err)
	}
}

func TestCountry(t *testing.T) {
	for name, path := range map[string][]string{
		"MaxMind": nil, "IPinfo": {"country_code"}, "flat": {"country"}, "registered": {"registered_country", "iso_code"},
	} {
		c, err := Parse(countries.File(networks, countries.Options{Path: path}), func(err error) { t.Errorf("%s: %v", name, err) })
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
		if _, err := Parse(tt.data, ignore); err == nil || !strings.Contains(err.Error(), tt.want) {
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
	if _, err := Parse(countries.File(all, countries.Options{}), ignore); err == nil {
		t.Error("looked at more networks than lookedAt")
	}
	delete(all, "10.0.0.0/24")
	if _, err := Parse(countries.File(all, countries.Options{}), ignore); err != nil {
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
		c, err := Parse(data, ignore)
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
	c, err := Parse(countries.File(all, countries.Options{}), ignore)
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
