package upstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/dns/dnstest"
	"sekimori/internal/testkit/nameserver"
)

func BenchmarkClientOverLoopback(b *testing.B) {
	s := nameserver.Serve(b, "a.example 3600 TXT text", dnstest.ServerOptions{})
	c := clientOf(b, longTimeout, s)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Lookup(b.Context(), "a.example", dns.TypeTXT); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	q := question{name: "x.example", typ: dns.TypeTXT}
	wire := nameserver.Message(b, 7, "x.example.", dns.TypeTXT, 0, "x.example TXT "+strings.Repeat(strings.Repeat("k", 255)+" ", 2))
	b.ReportAllocs()
	b.SetBytes(int64(len(wire)))
	for b.Loop() {
		if _, err := q.decode(wire); err != nil {
			b.Fatal(err)
		}
	}
}

// The dearest message: as many records and aliases as are looked at, and
// every name compressed to a pointer.
func BenchmarkDecodeWorst(b *testing.B) {
	var zone strings.Builder
	for i := range maxChain {
		fmt.Fprintf(&zone, "c%d.example CNAME c%d.example\n", i, i+1)
	}
	owner := strings.Repeat(strings.Repeat("a", 63)+".", 3) + "example"
	for range maxSection - maxChain {
		fmt.Fprintf(&zone, "%s A 192.0.2.1\n", owner)
	}
	q := question{name: "c0.example", typ: dns.TypeA}
	wire := nameserver.Message(b, 7, "c0.example.", dns.TypeA, 0, zone.String())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.decode(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	q := mustQuestion(b, "selector._domainkey.x.example", dns.TypeTXT).pack(queryOptions{edns: true, mix: true})
	wire := slices.Clone(q.packet)
	wire[2] |= bitResponse
	b.ReportAllocs()
	for b.Loop() {
		if q.match(wire) != whole {
			b.Fatal("not the answer")
		}
	}
}
