package spf

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/testkit/nameserver"
)

// BenchmarkTypical checks a domain that includes the record of a large provider.
func BenchmarkTypical(b *testing.B) {
	z := nameserver.Zone(b, `
example.com TXT "v=spf1 mx include:_spf.provider.example -all"
example.com MX 10 mx.example.com
mx.example.com A 198.51.100.1
_spf.provider.example TXT "v=spf1 ip4:203.0.113.0/26 ip4:203.0.113.64/26 ip4:203.0.113.128/26 ip6:2001:db8::/48 ip4:192.0.2.0/24 ~all"
`)
	a := Args{IP: client, HELO: "mail.example.com", MailFrom: "a@example.com"}
	b.ReportAllocs()
	for b.Loop() {
		z.ResetQueries()
		if c := CheckMailFrom(b.Context(), z, a); c.Result != Pass {
			b.Fatal(c.Problem)
		}
	}
}

// BenchmarkHostile checks a record whose redirect has as many costly macros as a
// record can hold.
func BenchmarkHostile(b *testing.B) {
	macros := strings.Repeat("%{h1r-}", (MaxRecordLen-100)/len("%{h1r-}"))
	text := ""
	for i := range MaxLookups {
		text += fmt.Sprintf("r%d.example.com TXT \"v=spf1 redirect=%s.r%d.example.com\"\n", i, macros, i+1)
	}
	z := nameserver.Zone(b, strings.ReplaceAll(text, "\"v=spf1 redirect="+macros, chunks("v=spf1 redirect="+macros)))
	a := Args{IP: client, HELO: strings.Repeat("-", maxMacroValue), MailFrom: "a@r0.example.com"}
	b.ReportAllocs()
	for b.Loop() {
		z.ResetQueries()
		if c := CheckMailFrom(b.Context(), z, a); c.Lookups == 0 {
			b.Fatal(c.Problem)
		}
	}
}

// chunks splits a text into the quoted strings of a TXT record. It leaves out
// the last closing quote.
func chunks(s string) string {
	var out strings.Builder
	for len(s) > 200 {
		fmt.Fprintf(&out, "%q ", s[:200])
		s = s[200:]
	}
	return out.String() + `"` + s
}
