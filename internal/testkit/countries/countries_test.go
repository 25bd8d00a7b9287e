package countries

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/oschwald/maxminddb-golang/v2"
)

func open(t *testing.T, data []byte) *maxminddb.Reader {
	t.Helper()
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// lookup returns the network of an address and its text at path, as "network text".
func lookup(t *testing.T, db *maxminddb.Reader, addr string, path ...any) string {
	t.Helper()
	found := db.Lookup(netip.MustParseAddr(addr))
	if found.Err() != nil {
		return found.Err().Error()
	}
	if !found.Found() {
		return "absent"
	}
	var text string
	if err := found.DecodePath(&text, path...); err != nil {
		return err.Error()
	}
	return found.Prefix().String() + " " + text
}

// TestOctets compares a file of one network with what the specification of the format wants.
func TestOctets(t *testing.T) {
	const (
		tree      = "\x00\x00\x11" + "\x00\x00\x01" // 0 is the first value, behind one node and 16 octets; 1 is nothing
		separator = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		data      = "\xe1\x47country" + "\xe1\x48iso_code" + "\x42JP"
		metadata  = "\xab\xcd\xefMaxMind.com" + "\xe9" +
			"\x4anode_count\xc4\x00\x00\x00\x01" +
			"\x4brecord_size\xa2\x00\x18" +
			"\x4aip_version\xa2\x00\x06" +
			"\x5bbinary_format_major_version\xa2\x00\x02" +
			"\x5bbinary_format_minor_version\xa2\x00\x00" +
			"\x4ddatabase_type\x4cTest-Country" +
			"\x49languages\x00\x04" +
			"\x4bdescription\xe0" +
			"\x4bbuild_epoch\x04\x02\x69\x2b\x9c\x00"
	)
	if got := string(File(map[string]string{"::/1": "JP"}, Options{})); got != tree+separator+data+metadata {
		t.Errorf("%q", got)
	}
}

// TestFile reads networks of both families, some of which share a code, with the reader of package geo.
func TestFile(t *testing.T) {
	networks := map[string]string{
		"192.0.2.0/24": "JP", "198.51.100.0/25": "US", "198.51.100.128/25": "DE", "203.0.113.7/32": "DE",
		"2001:db8::/33": "FR", "2001:db8:8000::/33": "JP", "2001:db9::1/128": "US", "8000::/1": "JP",
	}
	for _, tt := range []struct {
		o    Options
		path []any
		typ  string
	}{
		{Options{}, []any{"country", "iso_code"}, "Test-Country"},
		{Options{Type: "A type of twenty-eight octets"[:28]}, []any{"country", "iso_code"}, "A type of twenty-eight octet"},
		{Options{Path: []string{"country_code"}}, []any{"country_code"}, "Test-Country"},
		{Options{Path: []string{"a", "b", "c"}, Type: "x"}, []any{"a", "b", "c"}, "x"},
		{Options{Path: []string{}}, nil, "Test-Country"},
	} {
		data := File(networks, tt.o)
		db := open(t, data)
		if got := db.Metadata.DatabaseType; got != tt.typ {
			t.Errorf("the type is %q, want %q", got, tt.typ)
		}
		for addr, want := range map[string]string{
			"192.0.1.255": "absent", "192.0.2.0": "192.0.2.0/24 JP", "192.0.2.255": "192.0.2.0/24 JP", "192.0.3.0": "absent",
			"198.51.100.127": "198.51.100.0/25 US", "198.51.100.128": "198.51.100.128/25 DE",
			"203.0.113.6": "absent", "203.0.113.7": "203.0.113.7/32 DE", "203.0.113.8": "absent",
			"2001:db8:7fff::": "2001:db8::/33 FR", "2001:db8:8000::": "2001:db8:8000::/33 JP",
			"2001:db9::": "absent", "2001:db9::1": "2001:db9::1/128 US", "2001:db9::2": "absent",
			"7fff::": "absent", "8000::": "8000::/1 JP", "ffff::": "8000::/1 JP", "::ffff:0:0": "absent",
		} {
			if got := lookup(t, db, addr, tt.path...); got != want {
				t.Errorf("%+v: %s is %q, want %q", tt.o, addr, got, want)
			}
		}
		for _, code := range []string{"JP", "US", "DE", "FR"} {
			if n := strings.Count(string(data), "\x42"+code); n != 1 {
				t.Errorf("%+v: %s is written %d times", tt.o, code, n)
			}
		}
	}
}

// TestLarge reads a file with more nodes than two octets can count, and more data.
func TestLarge(t *testing.T) {
	networks := map[string]string{}
	for i := range 850 {
		networks[fmt.Sprintf("2001:db8:%x::1/128", i+1)] = fmt.Sprintf("%028d", i)
	}
	db := open(t, File(networks, Options{}))
	if n := db.Metadata.NodeCount; n <= 1<<16 {
		t.Errorf("there are only %d nodes", n)
	}
	for network, code := range networks {
		addr := netip.MustParsePrefix(network).Addr().String()
		if got := lookup(t, db, addr, "country", "iso_code"); got != network+" "+code {
			t.Errorf("%s is %q", network, got)
		}
	}
}

// TestNoNetwork checks that a file without any network can be read.
func TestNoNetwork(t *testing.T) {
	db := open(t, File(nil, Options{}))
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		if got := lookup(t, db, addr); got != "absent" {
			t.Errorf("%s is %q", addr, got)
		}
	}
}
