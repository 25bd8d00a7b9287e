package upstream

import (
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func BenchmarkClientOverLoopback(b *testing.B) {
	s := nameserver.Serve(b, "a.example 3600 TXT text", nameserver.Options{})
	c := clientOf(b, longTimeout, s)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Lookup(b.Context(), "a.example", dns.TypeTXT); err != nil {
			b.Fatal(err)
		}
	}
}
