package dnswire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func TestDecode(t *testing.T) {
	const soa = "\n\nexample. 900 SOA ns. h. 1 2 3 4 120"
	chain := func(n int) string {
		var b strings.Builder
		b.WriteString("x.example CNAME c1.example\n")
		for i := 1; i < n; i++ {
			fmt.Fprintf(&b, "c%d.example CNAME c%d.example\n", i, i+1)
		}
		fmt.Fprintf(&b, "c%d.example A 192.0.2.1\n", n)
		return b.String()
	}
	cases := []struct {
		reason string
		typ    dns.Type
		rcode  int
		zone   string
		want   string
	}{
		{"addresses, the least TTL", dns.TypeA, 0, "x.example 60 A 192.0.2.1\nx.example 30 A 192.0.2.2", "NOERROR x.example 30s 192.0.2.1 192.0.2.2"},
		{"IPv6", dns.TypeAAAA, 0, "x.example AAAA 2001:db8::1\nx.example AAAA ::ffff:192.0.2.1", "NOERROR x.example 5m0s 2001:db8::1 ::ffff:192.0.2.1"},
		{"strings joined as octets", dns.TypeTXT, 0, `x.example TXT "a " "b\"\200"`, `NOERROR x.example 5m0s "a b\"\xc8"`},
		{"MX", dns.TypeMX, 0, "x.example MX 5 M.example\nx.example MX 0 .", "NOERROR x.example 5m0s 5:m.example 0:"},
		{"owner without regard to case", dns.TypePTR, 0, "X.Example PTR H.example", "NOERROR x.example 5m0s h.example"},
		{"NS", dns.TypeNS, 0, "x.example NS a.example", "NOERROR x.example 5m0s a.example"},
		{"CNAME asked for is not followed", dns.TypeCNAME, 0, "x.example CNAME y.example\ny.example CNAME z.example", "NOERROR x.example 5m0s y.example"},
		{"three", dns.TypeA, 0, "x.example A 192.0.2.1\nx.example A 192.0.2.2\nx.example A 192.0.2.3", "NOERROR x.example 5m0s 192.0.2.1 192.0.2.2 192.0.2.3"},
		{"a text of the obsolete type SPF", typeSPF, 0, `x.example SPF "a"`, "NOERROR x.example 5m0s "},
		{"a type for whose data there is no place", dns.Type(codec.TypeHINFO), 0, "x.example HINFO a b", "NOERROR x.example 0s"},
		{"a CNAME asked for that is not there", dns.TypeCNAME, 0, "", "NOERROR x.example 0s"},
		{"other owners are not the answer", dns.TypeA, 0, "y.example A 192.0.2.1" + soa, "NOERROR x.example 2m0s"},
		{"other types are not the answer", dns.TypeA, 0, "x.example TXT a" + soa, "NOERROR x.example 2m0s"},
		{"other classes are not the answer", dns.TypeTXT, 0, "x.example CH TXT a" + soa, "NOERROR x.example 2m0s"},
		{"chain, in any order, least TTL", dns.TypeA, 0, "y.example 40 A 192.0.2.1\nx.example 50 CNAME y.example", "NOERROR y.example 40s 192.0.2.1"},
		{"the chain's TTL counts", dns.TypeA, 0, "x.example 20 CNAME y.example\ny.example 40 A 192.0.2.1", "NOERROR y.example 20s 192.0.2.1"},
		{"chain as long as allowed", dns.TypeA, 0, chain(dns.MaxChain), "NOERROR c8.example 5m0s 192.0.2.1"},
		{"chain too long", dns.TypeA, 0, chain(dns.MaxChain + 1), "loop"},
		{"loop", dns.TypeA, 0, "x.example CNAME y.example\ny.example CNAME x.example", "loop"},
		{"loop of one", dns.TypeA, 0, "x.example CNAME x.example", "loop"},
		{"chain into nowhere", dns.TypeA, 3, "x.example CNAME y.example" + soa, "NXDOMAIN y.example 2m0s"},
		{"chain to a name without the type", dns.TypeA, 0, "x.example 10 CNAME y.example" + soa, "NOERROR y.example 10s"},
		{"chain leaves the answer", dns.TypeA, 0, "x.example 10 CNAME y.example", "follow y.example 10s"},
		{"target that is not a dns.Name", dns.TypeA, 0, `x.example CNAME a\.b.example`, "malformed"},
		{"host that is not a dns.Name is left out", dns.TypeMX, 0, "x.example MX 1 a\\.b.example\nx.example MX 2 c.example", "NOERROR x.example 5m0s 2:c.example"},
		{"NXDOMAIN", dns.TypeA, 3, soa, "NXDOMAIN x.example 2m0s"},
		{"the SOA's own TTL counts", dns.TypeA, 3, "\n\nexample. 7 SOA ns. h. 1 2 3 4 120", "NXDOMAIN x.example 7s"},
		{"the SOA of another zone does not count", dns.TypeA, 3, "\n\nother. 900 SOA ns. h. 1 2 3 4 120", "NXDOMAIN x.example 0s"},
		{"without an SOA, the TTL is 0", dns.TypeA, 3, "", "NXDOMAIN x.example 0s"},
		{"NODATA without authority (RFC 2308 §2.2 type 3)", dns.TypeA, 0, "", "NOERROR x.example 0s"},
		{"referral of a server that does not recurse", dns.TypeA, 0, "\n\nexample. NS ns.example.", "servfail"},
		{"NXDOMAIN with records", dns.TypeA, 3, "x.example A 192.0.2.1", "malformed"},
		{"TTL with the top bit set (RFC 2181 §8)", dns.TypeA, 0, "x.example 2147483648 A 192.0.2.1", "NOERROR x.example 0s 192.0.2.1"},
		{"SERVFAIL", dns.TypeA, codec.RcodeServerFailure, "", "servfail"},
		{"REFUSED", dns.TypeA, codec.RcodeRefused, "", "refused"},
		{"any other rcode", dns.TypeA, codec.RcodeNotImplemented, "", "servfail"},
		{"as many records as allowed", dns.TypeA, 0,
			strings.Repeat("y.example A 192.0.2.1\n", dns.MaxRecords-1) + "x.example A 192.0.2.2", "NOERROR x.example 5m0s 192.0.2.2"},
		{"too many records", dns.TypeA, 0, strings.Repeat("x.example A 192.0.2.1\n", dns.MaxRecords+1), "too_large"},
		{"too many in the authority section", dns.TypeA, 0,
			"x.example A 192.0.2.1" + "\n\n" + strings.Repeat("example NS a.example\n", dns.MaxRecords+1), "too_large"},
		{"too much text", dns.TypeTXT, 0, strings.Repeat("x.example TXT "+strings.Repeat("a", 255)+"\n", 129), "too_large"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			q := Question{Name: "x.example", Type: c.typ}
			wire := nameserver.Message(t, 7, "x.EXAMPLE.", c.typ, c.rcode, c.zone)
			r, err := q.Decode(wire)
			got := ""
			switch {
			case err != nil:
				got = err.Kind.String()
			case r.Follow:
				got = fmt.Sprintf("follow %s %s", r.Answer.Canonical, r.Answer.TTL)
			default:
				got = nameserver.Show(r.Answer, nil)
				if spare := cap(r.Answer.Records) - len(r.Answer.Records); spare > 0 && c.typ == dns.TypeA {
					t.Errorf("memory for %d records that do not exist", spare)
				}
				wire[3] &^= bitAuthentic
				if r, _ := q.Decode(wire); r.Answer.Authenticated {
					t.Error("authenticated without AD")
				}
				if !r.Answer.Authenticated || r.Answer.Name != "x.example" || r.Answer.Type != c.typ {
					t.Errorf("answer to %s %s, ad %v", r.Answer.Name, r.Answer.Type, r.Answer.Authenticated)
				}
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// FuzzDecode: for any octets, Decode returns an answer within the bounds, or an error.
func FuzzDecode(f *testing.F) {
	for _, zone := range []string{
		"x.example A 192.0.2.1", "x.example CNAME y.example\ny.example A 192.0.2.1", "x.example CNAME x.example",
		"y.example A 192.0.2.9\n\nexample. 900 SOA ns. h. 1 2 3 4 120", "x.example A 192.0.2.1\ny.example A 192.0.2.9",
	} {
		f.Add(nameserver.Message(f, 7, "x.example.", dns.TypeA, 0, zone), uint16(dns.TypeA))
	}
	f.Add(nameserver.Message(f, 7, "x.example.", dns.TypeTXT, 0, `x.example TXT "a\"\200" "b"`), uint16(dns.TypeTXT))
	f.Add(nameserver.Message(f, 7, "x.example.", dns.TypeMX, 3, `x.example MX 1 a\.b`), uint16(dns.TypeMX))
	f.Fuzz(func(t *testing.T, wire []byte, typ uint16) {
		if len(wire) < HeaderLen {
			return
		}
		q := mustQuestion(t, "x.example", dns.Type(typ))
		r, fail := q.Decode(wire)
		asked := q.Pack(Options{})
		copy(asked.Packet, wire[:2])
		if asked.Match(wire) == Whole {
			compareWithCodec(t, q, wire, r, fail)
		}
		if fail != nil {
			if fail.Kind == 0 || fail.Name != q.Name {
				t.Errorf("failure %+v", fail)
			}
			return
		}
		a := r.Answer
		if a.TTL < 0 || a.TTL > 1<<31*time.Second || len(a.Records) > dns.MaxRecords || a.Name != q.Name {
			t.Errorf("answer %+v", a)
		}
		if a.Status == dns.NXDomain && len(a.Records) > 0 {
			t.Errorf("NXDOMAIN with records: %+v", a)
		}
	})
}

// TestReferral: an answer without records is a referral only if it has name servers, has no SOA, and is not authoritative.
func TestReferral(t *testing.T) {
	for bits := range 8 {
		soa, ns, aa := bits&1 != 0, bits&2 != 0, bits&4 != 0
		zone := "\n\n"
		if soa {
			zone += "example. 900 SOA ns. h. 1 2 3 4 120\n"
		}
		if ns {
			zone += "example. NS ns.example.\n"
		}
		wire := nameserver.Message(t, 7, "x.example.", dns.TypeA, 0, zone)
		wire[2] = bitResponse | bitRecurse
		if aa {
			wire[2] |= bitAuthoritative
		}
		_, err := Question{Name: "x.example", Type: dns.TypeA}.Decode(wire)
		if referral := ns && !soa && !aa; (err != nil) != referral || referral && !errors.Is(err, errReferral) {
			t.Errorf("SOA %t, NS %t, AA %t: %v", soa, ns, aa, err)
		}
	}
}

// TestMalformedTarget: an alias whose target cannot be read is no alias to follow.
func TestMalformedTarget(t *testing.T) {
	wire := nameserver.Message(t, 7, "x.example.", dns.TypeA, 0, "x.example CNAME target.example")
	wire[bytes.Index(wire, []byte("\x06target"))] = dns.MaxLabelLen + 1
	if r, err := (Question{Name: "x.example", Type: dns.TypeA}).Decode(wire); err == nil || err.Kind != dns.KindMalformed || !errors.Is(err, errLabel) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestExtendedRcode: only an OPT record, and only one in the additional section, has a part of the rcode (RFC 6891 §6.1.3).
func TestExtendedRcode(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeA)
	for _, typ := range []uint16{typeOPT, uint16(dns.TypeA)} {
		for _, count := range []int{7, 9, 11} { // of the answer, authority and additional section
			record := raw("\x00", typ, "")
			record[5] = 1 // the first octet of the TTL
			wire := append(q.Pack(Options{}).Packet, record...)
			wire[2] |= bitResponse
			wire[count] = 1
			m, err := readMessage(wire)
			if extended := typ == typeOPT && count == 11; err != nil || m.rcode != map[bool]int{true: 16}[extended] {
				t.Errorf("type %d, counted in octet %d: rcode %d, %v", typ, count, m.rcode, err)
			}
		}
	}
}
