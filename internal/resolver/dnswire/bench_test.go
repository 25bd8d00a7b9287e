package dnswire

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func BenchmarkDecode(b *testing.B) {
	q := Question{Name: "x.example", Type: dns.TypeTXT}
	wire := nameserver.Message(b, 7, "x.example.", dns.TypeTXT, 0, "x.example TXT "+strings.Repeat(strings.Repeat("k", 255)+" ", 2))
	b.ReportAllocs()
	b.SetBytes(int64(len(wire)))
	for b.Loop() {
		if _, err := q.Decode(wire); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeWorst measures the most expensive message: it has as many records and aliases as
// the bounds allow, and every name is compressed to a pointer.
func BenchmarkDecodeWorst(b *testing.B) {
	var zone strings.Builder
	for i := range dns.MaxChain {
		fmt.Fprintf(&zone, "c%d.example CNAME c%d.example\n", i, i+1)
	}
	owner := strings.Repeat(strings.Repeat("a", 63)+".", 3) + "example"
	for range dns.MaxRecords - dns.MaxChain {
		fmt.Fprintf(&zone, "%s A 192.0.2.1\n", owner)
	}
	q := Question{Name: "c0.example", Type: dns.TypeA}
	wire := nameserver.Message(b, 7, "c0.example.", dns.TypeA, 0, zone.String())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.Decode(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	q := mustQuestion(b, "selector._domainkey.x.example", dns.TypeTXT).Pack(Options{EDNS: true, Mix: true})
	wire := slices.Clone(q.Packet)
	wire[2] |= bitResponse
	b.ReportAllocs()
	for b.Loop() {
		if q.Match(wire) != Whole {
			b.Fatal("not the answer")
		}
	}
}
