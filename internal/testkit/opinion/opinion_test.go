package opinion

import (
	"net/netip"
	"testing"

	"sekimori/internal/testkit/nameserver"
)

// TestSPF has a case for each type of DNS question that the other implementation asks, and for each
// kind of missing answer.
func TestSPF(t *testing.T) {
	z := nameserver.Zone(t, `
ip.example    TXT "v=spf1 ip4:192.0.2.1 -all"
a.example     TXT "v=spf1 a -all"
a.example     A   192.0.2.1
six.example   TXT "v=spf1 a -all"
six.example   AAAA 2001:db8::1
mx.example    TXT "v=spf1 mx -all"
mx.example    MX  10 a.example
ptr.example   TXT "v=spf1 ptr -all"
h.ptr.example A   192.0.2.1
1.2.0.192.in-addr.arpa PTR h.ptr.example
! slow.example TXT servfail
void.example  TXT "v=spf1 a:x1.example a:x2.example a:x3.example a:x4.example -all"
`)
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tt := range []struct {
		ip             netip.Addr
		helo, mailFrom string
		want           string
	}{
		{four, "x.example", "a@ip.example", "pass"},
		{six, "x.example", "a@ip.example", "fail"},
		{four, "ip.example", "", "pass"},
		{four, "x.example", "a@a.example", "pass"},
		{six, "x.example", "a@six.example", "pass"},
		{four, "x.example", "a@mx.example", "pass"},
		{four, "x.example", "a@ptr.example", "pass"},
		{six, "x.example", "a@ptr.example", "fail"},
		{four, "x.example", "a@nowhere.example", "none"},
		{four, "x.example", "a@slow.example", "temperror"},
		{four, "x.example", "a@void.example", "permerror"},
	} {
		if got, why := SPF(z, tt.ip, tt.helo, tt.mailFrom); got != tt.want {
			t.Errorf("%s %q: %s (%v), want %s", tt.ip, tt.mailFrom, got, why, tt.want)
		}
	}
}
