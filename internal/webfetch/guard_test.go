package webfetch

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestPublic has the first and last addresses of networks, and their neighbours.
func TestPublic(t *testing.T) {
	refused := `0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254
		172.16.0.0 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255
		198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
		:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:93.184.216.34 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::192.168.1.1 64:ff9b:1::1 100::1
		2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1::1 2002:5db8:d822::1
		3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 ffff::1 fe80::1%eth0 2606:4700::1%eth0`
	allowed := `1.0.0.0 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.0.1 169.255.0.1 172.15.255.255 172.32.0.0
		192.0.1.1 192.0.3.1 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
		2000::1 2001:200::1 2001:db7::1 2001:db9::1 2003::1 2606:4700::1 3ffe:ffff::1 3fff:1000::1 64:ff9b::93.184.216.34`
	guard := Public([]netip.Prefix{netip.MustParsePrefix("193.0.0.0/24"), netip.MustParsePrefix("2a00:1::/32")})
	for _, s := range strings.Fields(refused) {
		if err := guard(netip.AddrPortFrom(netip.MustParseAddr(s), 443)); !errors.Is(err, ErrAddress) {
			t.Errorf("%s may be connected to: %v", s, err)
		}
	}
	for _, s := range strings.Fields(allowed) {
		if err := guard(netip.AddrPortFrom(netip.MustParseAddr(s), 443)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"193.0.0.1", "64:ff9b::193.0.0.1", "2a00:1::5"} {
		if err := guard(netip.AddrPortFrom(netip.MustParseAddr(s), 443)); !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), "trusted") {
			t.Errorf("the trusted network of %s may be connected to: %v", s, err)
		}
	}
	if err := guard(netip.AddrPort{}); err == nil {
		t.Error("no address at all may be connected to")
	}
}

func TestCheckURL(t *testing.T) {
	const (
		noHost, isAddr = "the URL has no host name", "the URL must have the name of a host, not its address"
		port, scheme   = "the URL must not name another port than 443", "the URL must begin with https://"
	)
	long := "https://shop.example/" + strings.Repeat("a", maxURL)
	for _, c := range []struct {
		kind    Kind
		url     string
		want    string
		problem string
	}{
		{Picture, "https://shop.example/logo.svg", "https://shop.example/logo.svg", ""},
		{Picture, "https://shop.-a/logo.svg", "https://shop.-a/logo.svg", ""}, // a last label that begins before the digits is no address
		{Picture, "HTTPS://Shop.Example:443/logo.svg?v=2#top", "https://shop.example/logo.svg?v=2", ""},
		{Certificate, "https://shop.example./vmc.pem", "https://shop.example/vmc.pem", ""},
		{Picture, "https://b\u00fccher.example/a", "https://xn--bcher-kva.example/a", ""},
		{Picture, "https://shop.example", "https://shop.example", ""},
		{CRL, "http://crl.example/a.crl", "http://crl.example/a.crl", ""},
		{CRL, "http://crl.example:80/a.crl", "http://crl.example/a.crl", ""},
		{CRL, "https://crl.example/a.crl", "https://crl.example/a.crl", ""},
		{Picture, "http://shop.example/", "", scheme},
		{Certificate, "http://shop.example/", "", scheme},
		{CRL, "ldap://crl.example/", "", scheme},
		{CRL, "http://crl.example:443/", "", "the URL must not name another port than 80"},
		{Picture, "https://shop.example:80/", "", port},
		{Picture, "https://shop.example:8443/", "", port},
		{Picture, "https://shop.example:/", "", port},
		{Picture, "https://shop.example:0443/", "", port},
		{Picture, "https://user@shop.example/", "", "the URL must not have a user name"},
		{Picture, "https://user:secret@shop.example/", "", "the URL must not have a user name"},
		{Picture, "https://@shop.example/", "", "the URL must not have a user name"},
		{Picture, "https://127.0.0.1/", "", isAddr},
		{Picture, "https://127.0.0.1./", "", isAddr},
		{Picture, "https://127.1/", "", isAddr},
		{Picture, "https://2130706433/", "", isAddr},
		{Picture, "https://0x7f000001/", "", isAddr},
		{Picture, "https://shop.0x7f/", "", isAddr},
		{Picture, "https://shop.9/", "", isAddr},
		{Picture, "https://shop.0./", "", isAddr},
		{Picture, "https://shop.9x/", "", isAddr},
		{Picture, "https://9.shop/", "https://9.shop/", ""},
		{Picture, "https://./", "", "the host of the URL is not a valid name"},
		{Picture, "https://shop..example/", "", "the host of the URL is not a valid name"},
		{Picture, "https://shop./", "", "the host of the URL is not a valid name"},
		{Picture, "https://shop.example/a#%41", "https://shop.example/a", ""},
		{Picture, "https://:443/", "", noHost},
		{CRL, "http://127.0.0.1/", "", isAddr},
		{CRL, "http://crl.example:8080/", "", "the URL must not name another port than 80"},
		{CRL, "https://crl.example:80/", "", port},
		{Picture, "https://[::1]/", "", isAddr},
		{Picture, "https://[fe80::1%25eth0]/", "", isAddr},
		{Picture, "https://localhost/", "", "the host of the URL is not a valid name"},
		{Picture, "https:///logo.svg", "", noHost},
		{Picture, "https:shop.example/logo.svg", "", noHost},
		{Picture, "//shop.example/logo.svg", "", scheme},
		{Picture, "file:///etc/passwd", "", scheme},
		{Picture, "data:image/svg+xml;base64,AAAA", "", scheme},
		{Picture, "https://shop .example/", "", "it is not a URL"},
		{Picture, "https://shop.example/\r\nHost: other.example", "", "it is not a URL"},
		{Picture, "https://sh%6fp_(.example/", "", "it is not a URL"},
		{Picture, "", "", scheme},
		{Picture, long, "", "the URL has more than 2048 octets"},
		{Picture, long[:maxURL], long[:maxURL], ""},
	} {
		u, err := CheckURL(c.kind, c.url)
		switch {
		case c.problem != "" && (err == nil || err.Error() != c.problem || u != nil):
			t.Errorf("%s %q: %v, %v; want %s", c.kind, c.url, u, err, c.problem)
		case c.problem == "" && (err != nil || u.String() != c.want):
			t.Errorf("%s %q: %v %v", c.kind, c.url, u, err)
		}
	}
}
