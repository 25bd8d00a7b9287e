package iprev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func TestCheck(t *testing.T) {
	manyNames := ""
	for i := range 10 {
		manyNames += fmt.Sprintf("1.2.0.192.in-addr.arpa PTR n%d.example.com\nn%d.example.com A 198.51.100.1\n", i, i)
	}
	for _, tc := range []struct {
		why, ip, zone string
		status        Status
		name          dns.Name
		asked         string
		failed        bool // the permerror follows from a lookup that failed
	}{
		{
			why: "reverse and forward agree", ip: "192.0.2.1", status: Pass, name: "mail.example.com",
			zone:  "1.2.0.192.in-addr.arpa PTR mail.example.com\nmail.example.com A 198.51.100.1\nmail.example.com A 192.0.2.1\nmail.example.com AAAA 2001:db8::1",
			asked: "1.2.0.192.in-addr.arpa PTR, mail.example.com A",
		},
		{
			why: "IPv6 asks for AAAA only", ip: "2001:db8::1", status: Pass, name: "mail.example.com",
			zone:  "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR mail.example.com\nmail.example.com AAAA 2001:db8::1",
			asked: "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR, mail.example.com AAAA",
		},
		{
			why: "an IPv4-mapped address is IPv4", ip: "::ffff:192.0.2.1", status: Pass, name: "mail.example.com",
			zone:  "1.2.0.192.in-addr.arpa PTR mail.example.com\nmail.example.com A 192.0.2.1",
			asked: "1.2.0.192.in-addr.arpa PTR, mail.example.com A",
		},
		{
			why: "the first name that agrees ends the search", ip: "192.0.2.1", status: Pass, name: "b.example.com",
			zone: "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\n" +
				"1.2.0.192.in-addr.arpa PTR c.example.com\na.example.com A 198.51.100.1\nb.example.com A 192.0.2.1\nc.example.com A 192.0.2.1",
			asked: "1.2.0.192.in-addr.arpa PTR, a.example.com A, b.example.com A",
		},
		{
			why: "a name with another address (RFC 8601 §2.7.3: not in agreement)", ip: "192.0.2.1", status: Fail,
			zone: "1.2.0.192.in-addr.arpa PTR mail.example.com\nmail.example.com A 198.51.100.1",
		},
		{
			why: "a name that does not exist (RFC 8601 §2.7.3: the forward query produced no result)", ip: "192.0.2.1", status: Fail,
			zone: "1.2.0.192.in-addr.arpa PTR mail.example.com",
		},
		{
			why: "a name of the other family only", ip: "192.0.2.1", status: Fail,
			zone: "1.2.0.192.in-addr.arpa PTR mail.example.com\nmail.example.com AAAA 2001:db8::1",
		},
		{
			why: "the root as a name is not asked for", ip: "192.0.2.1", status: Fail,
			zone: "1.2.0.192.in-addr.arpa PTR .", asked: "1.2.0.192.in-addr.arpa PTR",
		},
		{
			why: "no PTR, NXDOMAIN (RFC 8601 §2.7.3)", ip: "192.0.2.1", status: PermError,
			asked: "1.2.0.192.in-addr.arpa PTR",
		},
		{
			why: "no PTR, NODATA (RFC 8601 §2.7.3)", ip: "192.0.2.1", status: PermError,
			zone: `1.2.0.192.in-addr.arpa TXT "something else"`,
		},
		{
			why: "the reverse lookup fails", ip: "192.0.2.1", status: TempError,
			zone: "! 1.2.0.192.in-addr.arpa PTR servfail",
		},
		{
			why: "the forward lookup fails: it could have passed", ip: "192.0.2.1", status: TempError,
			zone: "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\n! a.example.com A timeout\nb.example.com A 198.51.100.1",
		},
		{
			why: "a failed lookup before a name that passes does not matter", ip: "192.0.2.1", status: Pass, name: "b.example.com",
			zone: "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\n! a.example.com A timeout\nb.example.com A 192.0.2.1",
		},
		{
			why: "the reverse lookup ends in a loop", ip: "192.0.2.1", status: PermError,
			zone: "1.2.0.192.in-addr.arpa CNAME x.example\nx.example CNAME 1.2.0.192.in-addr.arpa", failed: true,
		},
		{
			why: "the forward lookup ends in a loop, which a later attempt would not change", ip: "192.0.2.1", status: PermError,
			zone: "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\n" +
				"a.example.com CNAME a.example.com\nb.example.com A 198.51.100.1", failed: true,
		},
		{
			why: "a loop and a timeout: it could have passed", ip: "192.0.2.1", status: TempError,
			zone: "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\na.example.com CNAME a.example.com\n! b.example.com A timeout",
		},
		{
			why: "a timeout and a loop, in the other order", ip: "192.0.2.1", status: TempError,
			zone: "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\n! a.example.com A timeout\nb.example.com CNAME b.example.com",
		},
		{
			why: "a loop before a name that passes does not matter", ip: "192.0.2.1", status: Pass, name: "b.example.com",
			zone: "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\na.example.com CNAME a.example.com\nb.example.com A 192.0.2.1",
		},
		{
			why: "the eleventh name is not asked for", ip: "192.0.2.1", status: Fail,
			zone: manyNames + "1.2.0.192.in-addr.arpa PTR ok.example.com\nok.example.com A 192.0.2.1",
		},
	} {
		t.Run(tc.why, func(t *testing.T) {
			z := nameserver.Zone(t, tc.zone)
			res := Check(t.Context(), z, netip.MustParseAddr(tc.ip))
			if res.Status != tc.status || res.Name != tc.name {
				t.Errorf("%s by %q, want %s by %q (%s)", res.Status, res.Name, tc.status, tc.name, res.Problem)
			}
			asked := z.Queries()
			if tc.asked != "" && strings.Join(asked, ", ") != tc.asked {
				t.Errorf("asked %v", asked)
			}
			if len(asked) != len(res.Trace) || len(asked) != len(res.Names)+1 || len(asked) > MaxNames+1 {
				t.Errorf("asked %v, traced %v, names %v", asked, res.Trace, res.Names)
			}
			if (res.Problem == "") != (res.Status == Pass) || (res.DNSError != nil) != (res.Status == TempError || tc.failed) {
				t.Errorf("%s with problem %q and error %v", res.Status, res.Problem, res.DNSError)
			}
			if void := res.Status == PermError && !tc.failed; void != strings.HasPrefix(res.Trace[0].Detail, "no records: ") {
				t.Errorf("%s, traced %+v", res.Status, res.Trace[0])
			}
		})
	}
}

// TestTrace reads what an explanation says of each lookup.
func TestTrace(t *testing.T) {
	z := nameserver.Zone(t, "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\n1.2.0.192.in-addr.arpa PTR c.example.com\n"+
		"! a.example.com A timeout\nc.example.com A 198.51.100.1\nc.example.com A 192.0.2.1")
	res := Check(t.Context(), z, netip.MustParseAddr("192.0.2.1"))
	want := []Step{
		{Name: "1.2.0.192.in-addr.arpa", Type: dns.TypePTR, Detail: "3 record(s)"},
		{Name: "a.example.com", Type: dns.TypeA, Detail: "dns: a.example.com A: timeout"},
		{Name: "b.example.com", Type: dns.TypeA, Detail: "no records: NXDOMAIN"},
		{Name: "c.example.com", Type: dns.TypeA, Detail: "2 record(s)"},
	}
	if !slices.Equal(res.Trace, want) {
		t.Errorf("%+v", res.Trace)
	}
}

// TestProblem: of several failed lookups, the first one that could have changed the result is named.
func TestProblem(t *testing.T) {
	const loop, timeout = "%[1]s.example.com CNAME %[1]s.example.com\n", "! %[1]s.example.com A timeout\n"
	for _, tt := range []struct{ reason, a, b, problem string }{
		{"two timeouts", timeout, timeout, "dns: a.example.com A: timeout"},
		{"two loops", loop, loop, "dns: a.example.com A: loop"},
		{"a timeout and a loop", timeout, loop, "dns: a.example.com A: timeout"},
		{"a loop and a timeout", loop, timeout, "dns: b.example.com A: timeout"},
	} {
		z := nameserver.Zone(t, "1.2.0.192.in-addr.arpa PTR a.example.com\n1.2.0.192.in-addr.arpa PTR b.example.com\n"+fmt.Sprintf(tt.a, "a")+fmt.Sprintf(tt.b, "b"))
		if res := Check(t.Context(), z, netip.MustParseAddr("192.0.2.1")); !strings.HasPrefix(res.Problem, tt.problem) {
			t.Errorf("%s: %q", tt.reason, res.Problem)
		}
	}
}

func TestNoAddress(t *testing.T) {
	z := nameserver.Zone(t, "")
	if res := Check(t.Context(), z, netip.Addr{}); res.Status != PermError || res.Problem == "" || len(z.Queries()) != 0 {
		t.Errorf("%+v, asked %v", res, z.Queries())
	}
}

func TestAddressWithZone(t *testing.T) {
	z := nameserver.Zone(t, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa PTR a.example.com\na.example.com AAAA fe80::1")
	if res := Check(t.Context(), z, netip.MustParseAddr("fe80::1%eth0")); res.Status != Pass || res.IP.Zone() != "" {
		t.Errorf("%+v", res)
	}
}

func TestStrangersOctetsStayOutOfMessages(t *testing.T) {
	r := nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		if typ == dns.TypePTR {
			return dns.Answer{Records: []dns.Record{{Host: "a\r\n\x1b[2J\xff.example.com"}}}, nil
		}
		return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: errors.New("late")}
	})
	res := Check(t.Context(), r, netip.MustParseAddr("192.0.2.1"))
	for _, s := range []string{res.Problem, res.Trace[1].Detail} {
		if s == "" || slices.ContainsFunc([]byte(s), func(c byte) bool { return c < ' ' || c > '~' }) {
			t.Errorf("message %q", s)
		}
	}
	if _, err := json.Marshal(res); err != nil {
		t.Error(err)
	}
}

func TestResultAsJSON(t *testing.T) {
	z := nameserver.Zone(t, "1.2.0.192.in-addr.arpa PTR mail.example.com\nmail.example.com A 192.0.2.1")
	got, err := json.Marshal(Check(t.Context(), z, netip.MustParseAddr("192.0.2.1")))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"status":"pass","ip":"192.0.2.1","name":"mail.example.com","names":["mail.example.com"],` +
		`"trace":[{"name":"1.2.0.192.in-addr.arpa","type":"PTR","detail":"1 record(s)"},{"name":"mail.example.com","type":"A","detail":"1 record(s)"}]}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}

// FuzzCheck lets the owner of the address publish anything. A pass still needs an answer
// with the address, and the number of lookups is bounded.
func FuzzCheck(f *testing.F) {
	f.Add([]byte("mail.example.com\x01"), []byte{192, 0, 2, 1})
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, names, addrs []byte) {
		asked, has := 0, false
		r := nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
			asked++
			ans := dns.Answer{Name: name, Type: typ}
			if typ == dns.TypePTR {
				for _, n := range strings.Split(string(names), "\x01") {
					ans.Records = append(ans.Records, dns.Record{Host: dns.Name(n)})
				}
				return ans, nil
			}
			if len(name)%7 == 6 {
				return dns.Answer{}, &dns.Error{Kind: dns.KindServFail, Name: name, Type: typ}
			}
			for i := len(name) % 3; i+4 <= len(addrs); i += 4 {
				a := netip.AddrFrom4([4]byte(addrs[i : i+4]))
				has = has || a == netip.AddrFrom4([4]byte{192, 0, 2, 1})
				ans.Records = append(ans.Records, dns.Record{Addr: a})
			}
			return ans, nil
		})
		res := Check(t.Context(), r, netip.MustParseAddr("192.0.2.1"))
		if asked > MaxNames+1 {
			t.Fatalf("%d lookups", asked)
		}
		if (res.Status == Pass) != has {
			t.Fatalf("%s, and the address was seen: %v", res.Status, has)
		}
	})
}
