package msgauth

import (
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr"
	"sekimori/internal/message"
)

// TestAuthorHost: a host below the author's domain is the author's if it has a name of its own. A
// name made of the address or of the kind of access line belongs to a customer of the author.
func TestAuthorHost(t *testing.T) {
	for _, tt := range []struct {
		ip, author string
		own        []string
		nobodys    []string
	}{
		{"192.0.2.70", "host.example", []string{
			"host.example", "mx1.host.example", "mail.host.example", "a.b.host.example", "mx-out-2.fra.host.example", "smtp7.host.example",
			"mail.de.host.example", "srv2026.host.example", "mx1.dc5.host.example", "srv1270.host.example", "mx2.dc2.host.example",
			"xn--mller-kva.host.example", "cafe.host.example", "host7.host.example", "server.host.example",
		}, []string{
			"192-0-2-70.host.example", "192.0.2.70.host.example", "192_0_2_70.host.example", "70.2.0.192.host.example", "host-2-70.host.example",
			"70-2.dsl.host.example", "h70.host.example", "mx70.host.example", "192000002070.host.example", "002070.host.example", "070.host.example",
			"a070b.host.example", "c0000246.host.example", "c0-00-02-46.host.example", "460200c0.host.example", "x0246.host.example", "4602.host.example",
			"c0-0-2-46.host.example", "3221226054.host.example", "70002000192.host.example", "p270.host.example", "192x70.host.example",
			"static-192-0-2-70.ip.host.example", "n192.a0.b2.c70.host.example", "net192-0.host.example", "x0-192.host.example", "net-192-2.host.example",
			"dsl.host.example", "a.dyn.host.example", "pool-x.host.example", "customer.host.example", "abc.cust.host.example", "ppp3.host.example",
			"unassigned.host.example", "ann.dialup.host.example", "static.host.example", "nat.host.example", "ipv4.host.example",
		}},
		{"203.0.113.9", "isp.example", []string{"mx1.isp.example", "mx9.isp.example", "mail2.isp.example"}, []string{
			"203-0-113-9.dsl.isp.example", "host-9-113.isp.example", "cb007109.isp.example", "097100cb.isp.example", "x7109.isp.example",
			"9.113.0.203.isp.example", "113-9.isp.example", "p1139.isp.example", "9113.isp.example", "a009.isp.example", "cb-00-71-09.isp.example",
			"203000113009.isp.example", "3405803785.isp.example", "r113.s9.isp.example", "09.isp.example",
		}},
		{"203.186.113.10", "isp.example", []string{"mx1.dc2.isp.example", "cb.ba.isp.example", "mail.isp.example"},
			[]string{"cb-ba-71-a.isp.example", "a.71.ba.cb.isp.example", "cb-ba-71-0a.isp.example"}},
		{"203.10.11.12", "isp.example", []string{"a.b.isp.example"}, []string{"cb-a-b-c.isp.example", "a-b-c.isp.example", "cb-0a-0b-0c.isp.example"}},
		{"203.9.113.9", "isp.example", []string{"mx9.isp.example"}, []string{"mx9.dc9.isp.example"}},
		// The Author Domain may itself be the name of a customer's line.
		{"203.0.113.9", "203-0-113-9.dsl.isp.example", nil, []string{"203-0-113-9.dsl.isp.example", "mail.203-0-113-9.dsl.isp.example"}},
		{"203.0.113.66", "dyn.example", []string{"mx.dyn.example", "dyn.example"}, []string{"mx.dyn.dyn.example"}},
		{"192.0.2.1", "host.example", []string{"mx1.host.example", "mail.host.example"}, []string{"mx1.dc2.host.example", "001.host.example"}},
		{"::ffff:192.0.2.70", "host.example", []string{"mx1.host.example"}, []string{"192-0-2-70.host.example"}},
		{"2001:db8:0:12::9:3f", "host.example", []string{"mx1.host.example", "mail.host.example", "beef.host.example", "mx12.host.example",
			"mx1.dc5.host.example", "mx0000.host.example"}, []string{
			"2001-db8-0-12--9-3f.host.example", "2001-0db8-0000-0012-0000-0000-0009-003f.host.example", "20010db80000001200000000" + "0009003f.host.example",
			"f.3.0.0.9.0.0.0.0.0.0.0.0.0.0.0.2.1.0.0.0.0.0.0.8.b.d.0.1.0.0.2.host.example", "9-3f.host.example", "h3f.host.example",
			"0009003f.host.example", "x0db8.host.example", "v6-12-9.host.example", "09003f.host.example", "f30090.host.example", "3f-db8.host.example",
		}},
		{"2001:db8::21b:21ff:fe3c:4d5e", "host.example", []string{"mx1.host.example"}, []string{
			"00-1b-21-3c-4d-5e.host.example", "001b213c4d5e.host.example", "3c4d5e.host.example", "fe3c.host.example", "4d5e.host.example",
		}},
		{"2001:db8:5::3f", "host.example", []string{"mx5.rz5.host.example"}, nil},
		{"2001:db8:5:5::3f", "host.example", []string{"mx5.host.example"}, []string{"mx5.rz5.host.example"}},
		{"2001:db8::1", "host.example", []string{"mx1.host.example", "mail.host.example"}, []string{"2001-db8--1.host.example", "000001.host.example"}},
	} {
		for _, name := range tt.own {
			if r := passed(tt.ip, name); !isAuthorHost(r, dns.Name(tt.author)) {
				t.Errorf("%s [%s] is a host of %s", name, tt.ip, tt.author)
			}
		}
		for _, name := range tt.nobodys {
			if r := passed(tt.ip, name); isAuthorHost(r, dns.Name(tt.author)) {
				t.Errorf("%s [%s] is taken for a host of %s", name, tt.ip, tt.author)
			}
		}
	}
	for why, r := range map[string]iprev.Result{
		"another domain that ends alike": passed("192.0.2.70", "mx.myhost.example"),
		"the domain above":               passed("192.0.2.70", "example"),
		"a host beside it":               passed("192.0.2.70", "mx.other.example"),
		"iprev fail":                     {Status: iprev.Fail, IP: netip.MustParseAddr("192.0.2.70"), Names: []dns.Name{"mx1.host.example"}},
		"iprev not known":                {Status: iprev.TempError, IP: netip.MustParseAddr("192.0.2.70"), Name: "mx1.host.example"},
		"no name":                        {Status: iprev.Pass, IP: netip.MustParseAddr("192.0.2.70")},
	} {
		if isAuthorHost(r, "host.example") {
			t.Errorf("%s: taken for a host of host.example", why)
		}
	}
	if isAuthorHost(passed("192.0.2.70", "mx1.host.example"), "") {
		t.Error("no author has a host")
	}
}

func passed(ip, name string) iprev.Result {
	return iprev.Result{Status: iprev.Pass, IP: netip.MustParseAddr(ip).Unmap(), Name: dns.Name(name)}
}

func TestNotification(t *testing.T) {
	ann := mailaddr.Path{Local: "ann", Domain: "a.example"}
	for _, tt := range []struct {
		values []string
		from   mailaddr.Path
		want   bool
	}{
		{nil, mailaddr.Path{Null: true}, true},
		{nil, ann, false},
		{[]string{" no"}, ann, false},
		{[]string{" No (from a person)"}, ann, false},
		{[]string{"no;x=y"}, ann, false},
		{[]string{""}, ann, false},
		{[]string{" \r\n "}, ann, false},
		{[]string{" ;x=y"}, ann, false},
		{[]string{"\tauto-replied"}, ann, true},
		{[]string{") auto-replied"}, ann, true},
		{[]string{"((a) b\t) no"}, ann, false},
		{[]string{" auto-replied (vacation)"}, ann, true},
		{[]string{" auto-generated"}, ann, true},
		{[]string{"\r\n auto-notified; owner-email=\"a@a.example\""}, ann, true},
		{[]string{" no", " auto-generated"}, ann, true},
		{[]string{" nobody"}, ann, true},
		{[]string{" (a (b \\) c)) auto-replied"}, ann, true}, // CFWS
		{[]string{"(auto-replied) no"}, ann, false},
		{[]string{"(auto-replied)"}, ann, false},
		{[]string{"(auto-replied no"}, ann, false},
	} {
		var h message.Header
		for _, v := range tt.values {
			h = append(h, message.Field{Name: "auto-submitted", Value: v})
		}
		if got := isNotification(h, tt.from); got != tt.want {
			t.Errorf("%q from %+v: %t", tt.values, tt.from, got)
		}
	}
}

// FuzzAuthorHost: isAuthorHost never panics, and carriesAddress recognizes an address that is part
// of a name, written in one of the forms that MTAs and providers use.
func FuzzAuthorHost(f *testing.F) {
	f.Add("mx1", []byte{192, 0, 2, 70})
	f.Add("a-b.c_d", []byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, label string, octets []byte) {
		ip, ok := netip.AddrFromSlice(octets)
		if !ok {
			return
		}
		ip = ip.Unmap()
		r := iprev.Result{Status: iprev.Pass, IP: ip, Name: dns.Name(strings.ToLower(label) + ".host.example")}
		isAuthorHost(r, "host.example") // no panic
		plain := strings.NewReplacer(":", "-", ".", "-").Replace(ip.String())
		reverse := strings.TrimSuffix(strings.TrimSuffix(string(dns.ReverseName(ip)), ".in-addr.arpa"), ".ip6.arpa")
		for _, shown := range []string{plain, reverse, ip.StringExpanded()} {
			shown = strings.ReplaceAll(shown, ":", "-")
			if ip.Is6() && strings.Trim(shown, "0-.") == "" {
				continue // zeros alone do not show an address
			}
			if r.Name = dns.Name("x." + shown + ".host.example"); carriesAddress(string(r.Name), ip) == false && distinct(ip) {
				t.Errorf("%s does not show %s", r.Name, ip)
			}
		}
	})
}

// distinct reports whether more than two octets of ip are above 9. Other addresses, such as 0.0.0.1
// and ::1, look like the number of a host when they are part of a name.
func distinct(ip netip.Addr) bool {
	n := 0
	for _, o := range ip.AsSlice() {
		if o > 9 {
			n++
		}
	}
	return n > 2
}
