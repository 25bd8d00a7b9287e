package bimi

import (
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/testkit/nameserver"
)

// BenchmarkEvaluate measures a message with a mark whose record and certificate are known. The lookups
// are those of a test's zone, without a cache.
func BenchmarkEvaluate(b *testing.B) {
	z := nameserver.Zone(b, brand)
	from, err := author.Parse([]string{" news@shop.example"})
	if err != nil {
		b.Fatal(err)
	}
	signatures := []dkim.Signature{signed("shop.example")}
	d := dmarc.Discover(b.Context(), z, "shop.example", dmarc.Options{})
	result := d.Evaluate(b.Context(), z, []dmarc.Identifier{{Mechanism: dmarc.DKIM, Domain: "shop.example", State: dmarc.StatePass}})
	m := &Mark{SVG: make([]byte, 12<<10), Certified: true, Type: string(RegisteredMark), Same: true}
	answer := Answer{Result: Pass, Authority: AuthorityPass, Mark: m.Prepared()}
	b.ReportAllocs()
	for b.Loop() {
		e := Evaluate(b.Context(), z, &Message{From: &from, DKIM: signatures, DMARC: &result}, d, strict)
		if e.Answered(answer, strict); e.Result != Pass {
			b.Fatal(e.summary())
		}
	}
}
