package spf

import (
	"context"
	"net/netip"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func TestPrivateClient(t *testing.T) {
	for _, tt := range []struct {
		ips  []string
		want bool
	}{
		{[]string{"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.17.0.1", "172.31.255.255", "192.168.0.0", "192.168.56.241", "192.168.255.255"}, true},
		{[]string{"100.64.0.0", "100.127.255.255", "169.254.0.1", "169.254.255.255", "127.0.0.1", "127.255.255.255"}, true},
		{[]string{"0.0.0.0", "0.255.255.255", "192.0.0.1", "192.0.0.255", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"}, true},
		{[]string{"::ffff:10.0.0.1", "::ffff:192.168.1.1", "::ffff:127.0.0.1"}, true},
		{[]string{"::", "::1", "::10.0.0.1", "::192.0.2.1", "64:ff9b::192.0.2.10", "64:ff9b:1::1", "100::1"}, true},
		{[]string{"fc00::1", "fd12:3456:789a::1", "fdff:ffff::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff::1", "ff02::1"}, true},
		// Addresses just outside of each network, and addresses that examples use.
		{[]string{"9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "100.63.255.255", "100.128.0.0"}, false},
		{[]string{"169.253.255.255", "169.255.0.0", "126.255.255.255", "128.0.0.0", "1.0.0.0", "191.255.255.255", "192.0.1.0", "223.255.255.255"}, false},
		{[]string{"192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "::ffff:192.0.2.1"}, false},
		{[]string{"2001:db8::1", "2001:db8::1%eth0", "2001::1", "2002:c000:204::1", "2a00::1", "fbff::1", "fe7f::1", "100:0:0:1::1", "cafe:babe::1"}, false},
	} {
		for _, ip := range tt.ips {
			if got := PrivateClient(netip.MustParseAddr(ip)); got != tt.want {
				t.Errorf("%s: %t", ip, got)
			}
		}
	}
	if PrivateClient(netip.Addr{}) {
		t.Error("no address is not a private one")
	}
}

// TestInternetOnly checks that a private client causes no lookup, and that the
// result still has the domain and the sender.
func TestInternetOnly(t *testing.T) {
	silent := nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		t.Errorf("%s %s was asked", name, typ)
		return dns.Answer{}, nil
	})
	for _, ip := range []string{"10.1.2.3", "::ffff:10.1.2.3", "fe80::1%eth0"} {
		a := Args{IP: netip.MustParseAddr(ip), InternetOnly: true, HELO: "mx.example.com", MailFrom: "a@example.com"}
		for _, c := range []Check{CheckMailFrom(t.Context(), silent, a), CheckHELO(t.Context(), silent, a)} {
			if c.Result != None || c.Reason != ReasonPrivateClient || c.Domain == "" || c.Sender == "" || c.Problem == "" || c.Queries != 0 {
				t.Errorf("%s: %+v", ip, c)
			}
		}
		a.MailFrom = ""
		if c := CheckMailFrom(t.Context(), silent, a); c.Reason != ReasonPrivateClient || !c.NullSender || c.Domain != "mx.example.com" {
			t.Errorf("%s, null sender: %+v", ip, c)
		}
	}
	a := Args{IP: netip.MustParseAddr("203.0.113.1"), InternetOnly: true, HELO: "[192.168.1.10]", MailFrom: "a@example.com"}
	if c := CheckMailFrom(t.Context(), recordOf("v=spf1 -all"), a); c.Result != Fail {
		t.Errorf("a public client that says it is a private one: %+v", c)
	}
}
