package opinion

import (
	"errors"
	"net"
	"net/netip"
	"strings"
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
		got, why := SPF(z, tt.ip, tt.helo, tt.mailFrom)
		if got != tt.want || why == nil {
			t.Errorf("%s %q: %s (%v), want %s", tt.ip, tt.mailFrom, got, why, tt.want)
		}
	}
}

// TestErrors checks that each method says what net.Resolver says of a name without an answer.
func TestErrors(t *testing.T) {
	r := netResolver{nameserver.Zone(t, `
! slow.example TXT servfail
! slow.example MX servfail
! slow.example A servfail
six.example A 192.0.2.1
! six.example AAAA servfail
! 1.2.0.192.in-addr.arpa PTR servfail
`)}
	ctx, long := t.Context(), strings.Repeat("a", 64)
	for i, tt := range []struct {
		err       error
		words     string
		temporary bool
	}{
		{failure(r.LookupTXT(ctx, "slow.example")), "servfail", true},
		{failure(r.LookupTXT(ctx, "none.example")), "no such host", false},
		{failure(r.LookupTXT(ctx, long)), "over 63 octets", false},
		{failure(r.LookupMX(ctx, "slow.example")), "servfail", true},
		{failure(r.LookupMX(ctx, "none.example")), "no such host", false},
		{failure(r.LookupIPAddr(ctx, "slow.example")), "servfail", true},
		{failure(r.LookupIPAddr(ctx, "none.example")), "no such host", false},
		{failure(r.LookupIPAddr(ctx, "six.example")), "servfail", true}, // although it has an A record
		{failure(r.LookupAddr(ctx, "192.0.2.1")), "servfail", true},
		{failure(r.LookupAddr(ctx, "192.0.2.2")), "no such host", false},
	} {
		e, ok := errors.AsType[*net.DNSError](tt.err)
		if !ok || e.IsTemporary != tt.temporary || e.IsNotFound == tt.temporary || !strings.Contains(e.Err, tt.words) {
			t.Errorf("%d: %#v, want %s", i, tt.err, tt.words)
		}
	}
}

// failure returns the error of a lookup that returned nothing else.
func failure[T any](out []T, err error) error {
	if len(out) > 0 {
		return nil
	}
	return err
}
