package zone

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
)

const sample = `
example.com      3600 IN SOA ns hostmaster 1 2 3 4 120
example.com      A     192.0.2.1 ; trailing dot or not, the same
example.com.     60 A  192.0.2.2
example.com      AAAA  2001:db8::1
example.com      MX    10 mail.Example.com
example.com      MX    0 .
example.com      TXT   "v=spf1 " "-all" \; "q\"\\\200"
a.b.example.com  A     192.0.2.3
www.example.com  CNAME a.b.example.com
gone.example.com CNAME nothing.example.net
l1.example.com   CNAME l2.example.com
l2.example.com   CNAME l1.example.com
*.wild.example   TXT   "star"
x.wild.example   A     192.0.2.4
1.2.0.192.in-addr.arpa PTR example.com
odd\200\"x.example.com TXT odd
caa.example.com  CAA   0 issue "ca.example"
multi.example.com TXT ( "one"
    "two" ) ; over lines
! fail.example.com * servfail
! example.com TXT delay=150ms   ; slow only
! mute.example.com TXT delay=1s timeout
! tc.example.com A truncate-tcp
! ref.example.com A refused
! alias.example.com A servfail
alias.example.com CNAME a.b.example.com
both.example.com CNAME a.b.example.com
both.example.com TXT "both"
*.star.example TXT "star"
a.b.star.example A 192.0.2.5
! wid.example.com A wrongid
! wq.example.com A wrongquestion
! gar.example.com A garbage
`

func TestLookup(t *testing.T) {
	cases := []struct {
		name   string
		typ    dns.Type
		want   string
		reason string
	}{
		{"example.com", dns.TypeA, "NOERROR example.com 1m0s 192.0.2.1 192.0.2.2", "least TTL of the set"},
		{"example.com", dns.TypeAAAA, "NOERROR example.com 5m0s 2001:db8::1", "default TTL"},
		{"example.com", dns.TypeMX, "NOERROR example.com 5m0s 10:mail.example.com 0:.", "hosts in lower case; null MX is the root"},
		{"example.com", dns.TypeTXT, `NOERROR example.com 5m0s "v=spf1 -all;q\"\\\xc8"`, "strings joined, escapes undone"},
		{"example.com", dns.TypePTR, "NOERROR example.com 2m0s", "NODATA with the SOA's minimum"},
		{"b.example.com", dns.TypeA, "NOERROR b.example.com 2m0s", "empty non-terminal"},
		{"c.example.com", dns.TypeA, "NXDOMAIN c.example.com 2m0s", "absent, SOA of the parent"},
		{"example.net", dns.TypeA, "NXDOMAIN example.net 1m0s", "absent, no SOA"},
		{"www.example.com", dns.TypeA, "NOERROR a.b.example.com 5m0s 192.0.2.3", "CNAME followed"},
		{"www.example.com", dns.TypeCNAME, "NOERROR www.example.com 5m0s a.b.example.com", "CNAME itself"},
		{"gone.example.com", dns.TypeA, "NXDOMAIN nothing.example.net 1m0s", "dangling alias"},
		{"l1.example.com", dns.TypeA, "loop", "loop"},
		{"many.example.com", dns.TypeTXT, "too_large", "more than dns.MaxRecords"},
		{"long.example.com", dns.TypeTXT, "too_large", "more than dns.MaxTextOctets"},
		{"y.wild.example", dns.TypeTXT, `NOERROR y.wild.example 5m0s "star"`, "wildcard"},
		{"z.y.wild.example", dns.TypeTXT, `NOERROR z.y.wild.example 5m0s "star"`, "wildcard covers several labels"},
		{"x.wild.example", dns.TypeTXT, "NOERROR x.wild.example 1m0s", "an existing name hides the wildcard"},
		{"y.x.wild.example", dns.TypeTXT, "NXDOMAIN y.x.wild.example 1m0s", "nothing below an existing name"},
		{"odd\xc8\"x.example.com", dns.TypeTXT, `NOERROR odd` + "\xc8" + `"x.example.com 5m0s "odd"`, "octets in names"},
		{"caa.example.com", dns.TypeA, "NOERROR caa.example.com 2m0s", "a record of an unknown type makes its name exist"},
		{"multi.example.com", dns.TypeTXT, `NOERROR multi.example.com 5m0s "onetwo"`, "parentheses"},
		{"1.2.0.192.in-addr.arpa", dns.TypePTR, "NOERROR 1.2.0.192.in-addr.arpa 5m0s example.com", "PTR"},
		{"fail.example.com", dns.TypeMX, "servfail", "fault for all types"},
		{"mute.example.com", dns.TypeTXT, "timeout", "silence"},
		{"mute.example.com", dns.TypeA, "NOERROR mute.example.com 2m0s", "a fault makes the name exist"},
		{"tc.example.com", dns.TypeA, "malformed", "truncated even over TCP"},
		{"ref.example.com", dns.TypeA, "refused", ""},
		{"", dns.TypeA, "NOERROR  1m0s", "the root exists"},
		{"alias.example.com", dns.TypeA, "servfail", "the fault of an alias, whose target has none"},
		{"both.example.com", dns.TypeTXT, `NOERROR both.example.com 5m0s "both"`, "a record beside an alias"},
		{"both.example.com", dns.TypeA, "NOERROR a.b.example.com 5m0s 192.0.2.3", "an alias beside a record"},
		{"b.star.example", dns.TypeTXT, "NOERROR b.star.example 1m0s", "an empty non-terminal hides the wildcard"},
		{"c.star.example", dns.TypeTXT, `NOERROR c.star.example 5m0s "star"`, ""},
		{"wid.example.com", dns.TypeA, "timeout", "an answer that is ignored"},
		{"wq.example.com", dns.TypeA, "timeout", "an answer that is ignored"},
		{"gar.example.com", dns.TypeA, "timeout", "an answer that is ignored"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%q %s", c.name, c.typ), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := mustParse(t, sample+strings.Repeat("many.example.com TXT x\n", 257)+strings.Repeat("long.example.com TXT "+strings.Repeat("x", 255)+"\n", 129))
				if got := show(z.Lookup(t.Context(), dns.Name(c.name), c.typ)); got != c.want {
					t.Errorf("got %s, want %s (%s)", got, c.want, c.reason)
				}
				peek := "nothing"
				if a, ok := z.Peek(dns.Name(c.name), c.typ); ok {
					peek = show(a, nil)
					z.queries = z.queries[:len(z.queries)-1] // it is recorded
				}
				if faulty := !strings.Contains(c.want, " ") || c.name == "example.com" && c.typ == dns.TypeTXT; peek != c.want && !faulty || faulty && peek != "nothing" {
					t.Errorf("Peek: got %s", peek)
				}
				if q := z.Queries(); len(q) != 1 || q[0] != c.name+" "+c.typ.String() {
					t.Errorf("queries %q", q)
				}
			})
		})
	}
}

// show returns an answer as one line, without the name asked for, or the kind of an error.
func show(a dns.Answer, err error) string {
	if err != nil {
		var e *dns.Error
		if !errors.As(err, &e) {
			return "not a dns.Error: " + err.Error()
		}
		return e.Kind.String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", a.Status, a.Canonical, a.TTL)
	for _, r := range a.Records {
		switch {
		case r.Addr.IsValid():
			fmt.Fprintf(&b, " %s", r.Addr)
		case a.Type == dns.TypeMX && r.Host == "":
			fmt.Fprintf(&b, " %d:.", r.Preference)
		case a.Type == dns.TypeMX:
			fmt.Fprintf(&b, " %d:%s", r.Preference, r.Host)
		case a.Type == dns.TypeTXT:
			fmt.Fprintf(&b, " %q", r.Text)
		default:
			fmt.Fprintf(&b, " %s", r.Host)
		}
	}
	return b.String()
}

func TestDelayObeysContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := mustParse(t, "! slow.example A delay=1m")
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := show(z.Lookup(ctx, "slow.example", dns.TypeA)); got != "timeout" {
			t.Errorf("deadline: %s", got)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("waited %s", d)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if got := show(z.Lookup(gone, "slow.example", dns.TypeA)); got != "canceled" {
			t.Errorf("canceled: %s", got)
		}
		if q := z.Queries(); len(q) != 1 {
			t.Errorf("a question was asked although its context had ended: %q", q)
		}
	})
}

func TestBuildInCode(t *testing.T) {
	z := New().
		Add("example.com", dns.TypeA, dns.Record{Addr: netip.MustParseAddr("192.0.2.1")}).
		AddTTL("example.com", dns.TypeA, time.Second, dns.Record{Addr: netip.MustParseAddr("192.0.2.2")}).
		Add("a.b.example.com", dns.TypeTXT).
		Fail("example.com", dns.TypeMX, Fault{Kind: Timeout})
	look := func(name dns.Name, typ dns.Type) string { return show(z.Lookup(t.Context(), name, typ)) }
	if got, want := look("example.com", dns.TypeA), "NOERROR example.com 1s 192.0.2.1 192.0.2.2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := look("example.com", dns.TypeMX); got != "timeout" {
		t.Errorf("got %s", got)
	}
	z.Fail("example.com", dns.TypeMX, Fault{})
	if got := look("example.com", dns.TypeMX); got != "NOERROR example.com 1m0s" {
		t.Errorf("fault did not end: %s", got)
	}
	if got := look("b.example.com", dns.TypeA); got != "NOERROR b.example.com 1m0s" {
		t.Errorf("above a name: %s", got)
	}
	z.Add("one.example", dns.TypeA, dns.Record{Addr: netip.MustParseAddr("192.0.2.3")}).Remove("two.example")
	if got := look("b.example.com", dns.TypeA) + ", " + look("one.example", dns.TypeA); got != "NOERROR b.example.com 1m0s, NOERROR one.example 5m0s 192.0.2.3" {
		t.Errorf("after Remove of another: %s", got)
	}
	z.Fail("one.example", dns.TypeMX, Fault{Kind: Refused}).Fail("one.example", dns.TypeTXT, Fault{Kind: ServFail})
	if got := look("one.example", dns.TypeMX) + ", " + look("one.example", dns.TypeTXT); got != "refused, servfail" {
		t.Errorf("two faults: %s", got)
	}
	z.Remove("a.b.example.com")
	if got := look("b.example.com", dns.TypeA); got != "NXDOMAIN b.example.com 1m0s" {
		t.Errorf("after Remove: %s", got)
	}
	z.ResetQueries()
	if q := z.Queries(); len(q) != 0 {
		t.Errorf("queries after reset: %q", q)
	}
}

func TestConcurrentUse(t *testing.T) {
	z := mustParse(t, sample)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := dns.Name(fmt.Sprintf("h%d.example.com", i))
			for range 50 {
				z.Add(name, dns.TypeA, dns.Record{Addr: netip.MustParseAddr("192.0.2.9")})
				z.Fail(name, dns.TypeMX, Fault{Kind: Refused})
				if got := show(z.Lookup(t.Context(), "www.example.com", dns.TypeA)); got != "NOERROR a.b.example.com 5m0s 192.0.2.3" {
					t.Errorf("got %s", got)
				}
				z.Remove(name)
				_ = z.Queries()
			}
		})
	}
	wg.Wait()
}

func TestQueriesAreBounded(t *testing.T) {
	z := New()
	for range maxQueries + 10 {
		z.recordQuery("example.com", dns.TypeA)
	}
	if n := len(z.Queries()); n != maxQueries {
		t.Errorf("%d queries kept", n)
	}
}

// TestBounds checks the largest answers of each kind, and what is said of one that is larger.
func TestBounds(t *testing.T) {
	z := New()
	for i, from := range []dns.Name{"c9.example", "c8.example", "c7.example", "c6.example", "c5.example", "c4.example", "c3.example", "c2.example", "c1.example"} {
		z.Add(from, dns.TypeCNAME, dns.Record{Host: dns.Name(fmt.Sprintf("c%d.example", 8-i))})
	}
	z.Add("c0.example", dns.TypeTXT, dns.Record{Text: "x"})
	many := make([]dns.Record, dns.MaxRecords+1)
	z.Add("r256.example", dns.TypeTXT, many[1:]...).Add("r257.example", dns.TypeTXT, many...)
	z.Add("cr.example", dns.TypeCNAME, dns.Record{Host: "r256.example"})
	text := strings.Repeat("x", dns.MaxTextOctets+1)
	z.Add("t.example", dns.TypeTXT, dns.Record{Text: text[1:]}).Add("t1.example", dns.TypeTXT, dns.Record{Text: text})
	for name, want := range map[dns.Name]string{
		"c8.example": "<nil>", "c9.example": "dns: c9.example TXT: loop: zone: more than 8 CNAMEs",
		"r256.example": "<nil>", "r257.example": "dns: r257.example TXT: too_large: zone: more than 256 records", "cr.example": "dns: cr.example TXT: too_large: zone: more than 256 records",
		"t.example": "<nil>", "t1.example": "dns: t1.example TXT: too_large: zone: more than 32768 octets of text",
	} {
		if _, err := z.Lookup(t.Context(), name, dns.TypeTXT); fmt.Sprint(err) != want {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := z.Peek(name, dns.TypeTXT); ok != (want == "<nil>") {
			t.Errorf("Peek of %s: %v", name, ok)
		}
	}
	if z.Expect(t.Context(), "c0.example", dns.TypeTXT) || z.Queued() {
		t.Error("a zone looks ahead, or queues")
	}
}

// TestFaultTypes checks for each type of a fault line which questions fail.
func TestFaultTypes(t *testing.T) {
	types := map[string]dns.Type{"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SPF": 99}
	for name := range types {
		z := mustParse(t, "! x.example "+strings.ToLower(name)+" refused\n! all.example * refused")
		for other, typ := range types {
			if got := show(z.Lookup(t.Context(), "x.example", typ)); (got == "refused") != (other == name) {
				t.Errorf("a fault of %s, asked for %s: %s", name, other, got)
			}
			if got := show(z.Lookup(t.Context(), "all.example", typ)); got != "refused" {
				t.Errorf("a fault of all, asked for %s: %s", other, got)
			}
		}
	}
}

// TestPresentation reads names and texts as they are written in a master file.
func TestPresentation(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "a", `a\`: `a\`, `\065`: "A", `\0651`: "A1", `\06`: "06", `\06x`: "06x", `\255`: "\xff", `\256`: "256", `\.`: ".", `\\`: `\`, `\\065`: `\065`, `\65`: "65",
	} {
		if got := unescape(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"A.example.": "a.example", "日本.example": "xn--wgv71a.example", `a\128.example`: "a\x80.example", `AZ\200z.EXAMPLE`: "az\xc8z.example", `a\`: `a\`, `a\\`: `a\`, `a\\.b`: `a\.b`,
		`\.a`: "error", `a\.`: "error", `a\046`: "error", `\046`: "error", `a\04`: "a04", `a..\200`: "error", `a..b`: "error",
		`@\200[`: "@\xc8[",
	} {
		name, err := fromPresentation(text)
		got := string(name)
		if err != nil {
			got = "error" + got
		}
		if got != want {
			t.Errorf("%q: %q (%v), want %q", text, got, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	cases := []struct{ zone, want, reason string }{
		{"example.com A 192.0.2.300", "line: 1", "bad address"},
		{"\n\nexample.com MX mail", "line: 3", "line numbers count from one"},
		{"! example.com A", "line 1", "fault without a word"},
		{"\n! example.com A explode", `line 2: unknown fault "explode"`, ""},
		{"! example.com LOC timeout", `unknown type "LOC"`, ""},
		{"! example.com A delay=soon", "invalid duration", ""},
		{"! a..b A timeout", "empty label", "fault owner"},
		{`a\.b.example TXT x`, "dot inside a label", "cannot be a dns.Name"},
		{`a\046b.example TXT x`, "dot inside a label", "the same by number"},
		{`x.example MX 0 a\.b.example`, "dot inside a label", "a host"},
		{"$INCLUDE /etc/passwd", "INCLUDE", "never reads files"},
	}
	for _, c := range cases {
		z, err := Parse(c.zone)
		if z != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: zone %v, error %v, want %q (%s)", c.zone, z != nil, err, c.want, c.reason)
		}
	}
}

func mustParse(t *testing.T, zoneText string) *Zone {
	t.Helper()
	z, err := Parse(zoneText)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("! a\\.b * timeout\n! x A delay=1s garbage\n\\000 TXT \\255\\2")
	f.Add("@ TXT \"\"\n$ORIGIN x.\n@ A 192.0.2.1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToUpper(text), "$GENERATE") {
			t.Skip("multiplies its input by design")
		}
		z, err := Parse(text)
		if err != nil {
			return
		}
		for name := range z.nodes {
			if len(name) > dns.MaxNameLen || slices.ContainsFunc(strings.Split(string(name), "."), func(l string) bool {
				return len(l) > dns.MaxLabelLen || (l == "" && name != "")
			}) {
				t.Errorf("%q does not fit the wire", name)
			}
			if out := z.resolve(name, dns.TypeTXT); out.status == dns.NXDomain && out.canonical == name {
				t.Errorf("%q is in the zone and does not exist", name)
			}
		}
	})
}
