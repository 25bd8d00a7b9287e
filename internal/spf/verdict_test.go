package spf

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/octets"
	"sekimori/internal/testkit/opinion"
)

// verdictTerms are the terms of which records are made to compare their verdicts. The last one ends a record.
var verdictTerms = []string{
	"a:h0.example", "-a:h1.example", "a:gone1.example", "mx:m0.example", "~mx:m1.example/24", "ip4:192.0.2.0/28", "-ip4:203.0.113.7", "include:r1.example", "?include:r2.example",
	"-include:r3.example", "exists:%{ir}.list.example", "~exists:gone2.example", "redirect=r2.example", "redirect=r3.example", "-all", "~all", "?all", "+all", "a:fail.example", "mx:gone3.example",
	"exists:%{d2}.%{l}.x.example", "ip6:2001:db8::/32", "x=y", "\n",
	"a:h3.example/26//64", "-a:h3.example//112", "mx:m2.example//64", "?a/28", "exists:%{ir}.%{v}.y.example", "exists:%{d2r-}.%{O}.y.example", "~ip6:2001:db8:0:1::/64",
}

const verdictZone = `
h0.example A 192.0.2.1
h0.example AAAA 2001:db8:0:1::1
h0.example A 192.0.2.17
h1.example A 203.0.113.1
h1.example AAAA 2001:db8:0:1::99
m0.example MX 10 h0.example
m1.example MX 10 h1.example
m1.example MX 20 h2.example
h2.example A 198.51.100.1
h2.example AAAA 2001:db9::1
1.2.0.192.list.example A 127.0.0.2
r1.example.u.x.example A 127.0.0.2
h3.example A 192.0.2.33
h3.example AAAA 2001:db8::33
m2.example MX 10 h3.example
r0.example A 192.0.2.9
r0.example AAAA 2001:db8::1
1.2.0.192.in-addr.y.example A 127.0.0.2
9.9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.y.example A 127.0.0.2
example.r0.r0.example.y.example A 127.0.0.2
! fail.example A servfail
! fail.example AAAA servfail
`

// checkVerdict makes the records of r0.example to r3.example of the terms that program chooses, and compares
// the result for some clients with that of blitiri.com.ar/go/spf.
func checkVerdict(t *testing.T, program []byte) {
	t.Helper()
	text := verdictZone
	var words []string
	for _, c := range program[:min(len(program), 48)] {
		words = append(words, verdictTerms[int(c)%len(verdictTerms)])
	}
	for i, record := range strings.SplitN(strings.Join(words, " "), "\n", 4) {
		if record = strings.TrimSpace(strings.ReplaceAll(record, "\n", "")); record != "" {
			text += fmt.Sprintf("r%d.example TXT \"v=spf1 %s\"\n", i, record)
		}
	}
	z := nameserver.Zone(t, text)
	for _, ip := range []string{"192.0.2.1", "192.0.2.14", "203.0.113.7", "198.51.100.99", "192.0.2.60", "2001:db8::1", "2001:db8:0:1::99"} {
		a := Args{IP: netip.MustParseAddr(ip), HELO: "h.example", MailFrom: "u@r0.example"}
		got := CheckMailFrom(t.Context(), z, a)
		want, why := opinion.SPF(z, a.IP, a.HELO, a.MailFrom)
		if string(got.Result) != want {
			t.Fatalf("%s: %s (%s), blitiri.com.ar/go/spf says %s (%v)\n%s", ip, got.Result, got.Problem, want, why, strings.TrimPrefix(text, verdictZone))
		}
		again := CheckMailFrom(t.Context(), z, Args{IP: a.IP, HELO: a.HELO, MailFrom: a.MailFrom, LookAhead: 5})
		if again.Result != got.Result || again.Reason != got.Reason {
			t.Fatalf("%s: %s %s, with look-ahead %s %s", ip, got.Result, got.Reason, again.Result, again.Reason)
		}
	}
}

// TestVerdicts compares many records with another implementation.
func TestVerdicts(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 1500 {
		program := make([]byte, r.IntN(20))
		for i := range program {
			program[i] = byte(r.IntN(len(verdictTerms)))
		}
		checkVerdict(t, program)
	}
}

// FuzzVerdict does the same with records that the fuzzer chooses.
func FuzzVerdict(f *testing.F) {
	for _, records := range []string{"a:h0.example -all", "include:r1.example ~all\nmx:m0.example -all", "redirect=r2.example\n\nexists:%{ir}.list.example ?all"} {
		f.Add(octets.Program(strings.ReplaceAll(records, " ", ""), verdictTerms...))
	}
	f.Fuzz(checkVerdict)
}
