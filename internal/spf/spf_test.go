package spf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

var client = netip.MustParseAddr("192.0.2.1")

// recordOf returns a resolver that answers every TXT question with text. Its other
// answers have no records.
func recordOf(text string) dns.Resolver {
	return nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		ans := dns.Answer{Name: name, Type: typ, Canonical: name}
		if typ == dns.TypeTXT {
			ans.Records = []dns.Record{{Text: text}}
		}
		return ans, nil
	})
}

func TestIdentities(t *testing.T) {
	z := nameserver.Zone(t, `
example.com TXT "v=spf1 ip4:192.0.2.1 -all"
a_b.example.com TXT "v=spf1 ip4:192.0.2.1 -all"
mail.example.com TXT "v=spf1 ip4:192.0.2.1 -all"
`)
	for _, tc := range []struct {
		from, helo string
		result     Result
		domain     dns.Name
		sender     string
		null       bool
		why        string
	}{
		{"a@Example.COM", "x", Pass, "example.com", "a@example.com", false, "names have no case (RFC 4343)"},
		{"a@example.com.", "x", Pass, "example.com", "a@example.com", false, "the trailing dot is the root"},
		{"a@a_b.example.com", "x", Pass, "a_b.example.com", "a@a_b.example.com", false, "underscores are in use"},
		{"example.com", "x", Pass, "example.com", "postmaster@example.com", false, "no local part (RFC 7208 §4.3)"},
		{"@example.com", "x", Pass, "example.com", "postmaster@example.com", false, "an empty local part (RFC 7208 §4.3)"},
		{"", "mail.example.com", Pass, "mail.example.com", "postmaster@mail.example.com", true, "null reverse-path (RFC 7208 §2.4)"},
		{"", "[192.0.2.1]", None, "", "postmaster@[192.0.2.1]", true, "null reverse-path, and a literal for HELO"},
		{"", "", None, "", "postmaster@", true, "nothing at all"},
		{"a@", "mail.example.com", None, "", "a@", false, "no domain is not the null reverse-path"},
		{"postmaster", "mail.example.com", None, "", "postmaster@postmaster", false, "RFC 5321's bare postmaster is a single label"},
		{"a@[192.0.2.1]", "mail.example.com", None, "", "a@[192.0.2.1]", false, "literal"},
		{"a@192.0.2.1", "mail.example.com", None, "", "a@192.0.2.1", false, "literal without brackets"},
		{"a@example..com", "x", None, "", "a@example..com", false, "empty label"},
		{"a@" + strings.Repeat("a", 64) + ".example", "x", None, "", "a@" + strings.Repeat("a", 64) + ".example", false, "label over 63"},
		{"a@" + strings.Repeat("a.", 130) + "example", "x", None, "", "a@" + strings.Repeat("a.", 130) + "example", false, "name over 253"},
	} {
		c := CheckMailFrom(t.Context(), z, Args{IP: client, HELO: tc.helo, MailFrom: tc.from})
		if c.Result != tc.result || c.Domain != tc.domain || c.Sender != tc.sender || c.NullSender != tc.null || c.Identity != MailFrom {
			t.Errorf("%s: MAIL FROM:<%s> gives %+v", tc.why, tc.from, c)
		}
	}
}

func TestNoClientAddress(t *testing.T) {
	c := CheckMailFrom(t.Context(), recordOf("v=spf1 +all"), Args{MailFrom: "a@example.com"})
	if c.Result != None || c.Reason != ReasonNoAddress || c.Domain != "example.com" {
		t.Errorf("a client without an address gives %+v", c)
	}
}

func TestZoneOfAddressIsIgnored(t *testing.T) {
	a := Args{IP: netip.MustParseAddr("fe80::1%eth0"), MailFrom: "a@example.com"}
	if c := CheckMailFrom(t.Context(), recordOf("v=spf1 ip6:fe80::/64 -all"), a); c.Result != Pass {
		t.Errorf("a link-local client gives %+v", c)
	}
}

func TestTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		// Every answer takes 3 s, so the deadline passes while ptr is evaluated.
		// Unlike the deadline, a DNS error in ptr does not end the check (RFC 7208
		// §5.5).
		slow := nameserver.Func(func(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
			select {
			case <-ctx.Done():
				return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ}
			case <-time.After(3 * time.Second):
			}
			ans := dns.Answer{Name: name, Type: typ, Canonical: name}
			switch typ {
			case dns.TypeTXT:
				ans.Records = []dns.Record{{Text: "v=spf1 ptr +all"}}
			case dns.TypePTR:
				for i := range 10 {
					ans.Records = append(ans.Records, dns.Record{Host: dns.Name(fmt.Sprintf("n%d.example.com", i))})
				}
			}
			return ans, nil
		})
		c := CheckMailFrom(ctx, slow, Args{IP: client, MailFrom: "a@example.com"})
		if c.Result != TempError || c.Reason != ReasonTimeLimit || c.DNSError == nil {
			t.Errorf("after the time limit: %+v", c)
		}
	})
}

// TestLimitsInEachTerm checks that the time limit and the limit on queries end the check with temperror, at
// whichever query of a term they are reached. Unlike a DNS error, they also end ptr and %{p}.
func TestLimitsInEachTerm(t *testing.T) {
	for _, tt := range []struct {
		record  string
		queries int // of the whole check, if there is no limit
	}{
		{"a", 2}, {"mx", 3}, {"exists:x.example", 2}, {"include:x.example", 2}, {"redirect=x.example", 2}, {"ptr:other.example", 2}, {"ptr:h.example", 3},
		{"exists:%{p}.example", 4}, {"include:%{p}", 3}, {"redirect=%{p}", 3}, {"a:%{p}.example", 4},
	} {
		for limit := 1; limit <= tt.queries; limit++ {
			ctx, cancel := context.WithCancel(t.Context())
			asked := 0
			answer := func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
				if asked++; ctx.Err() != nil || asked == limit {
					cancel()
					return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ}
				}
				ans := dns.Answer{Name: name, Type: typ, Canonical: name}
				switch {
				case name == "example.com" && typ == dns.TypeTXT:
					ans.Records = []dns.Record{{Text: "v=spf1 " + tt.record}}
				case typ == dns.TypeTXT:
					ans.Records = []dns.Record{{Text: "v=spf1 ?all"}}
				case typ == dns.TypePTR, typ == dns.TypeMX:
					ans.Records = []dns.Record{{Host: "h.example"}}
				}
				return ans, nil
			}
			a := Args{IP: client, MailFrom: "a@example.com"}
			c := CheckMailFrom(ctx, nameserver.Func(answer), a)
			cancel()
			if c.Result != TempError || c.Reason != ReasonTimeLimit || c.Queries != limit || c.Mechanism != "" {
				t.Errorf("%s, time ends in query %d: %s %s by %q after %d", tt.record, limit, c.Result, c.Reason, c.Mechanism, c.Queries)
			}
			ctx, cancel = context.WithCancel(t.Context())
			asked = -1 << 20
			var bounded Check
			e := evaluation{ctx: ctx, resolver: nameserver.Func(answer), args: a, ip: client, local: "a", check: &bounded, maxQueries: limit - 1}
			e.run("example.com")
			cancel()
			if bounded.Result != TempError || bounded.Reason != ReasonQueryLimit || bounded.Queries != limit-1 {
				t.Errorf("%s, %d queries allowed: %s %s after %d", tt.record, limit-1, bounded.Result, bounded.Reason, bounded.Queries)
			}
		}
	}
}

func TestContextDoneBeforeTheFirstQuestion(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := CheckMailFrom(ctx, recordOf("v=spf1 +all"), Args{IP: client, MailFrom: "a@example.com"})
	if c.Result != TempError || c.Reason != ReasonTimeLimit || c.Queries != 0 {
		t.Errorf("with a canceled context: %+v", c)
	}
}

func TestDNSErrorIsKept(t *testing.T) {
	failure := &dns.Error{Kind: dns.KindBudget, Name: "example.com", Type: dns.TypeTXT}
	for kind, want := range map[dns.ErrorKind]struct {
		Result
		Reason
	}{
		dns.KindServFail: {TempError, ReasonDNS}, dns.KindMalformed: {TempError, ReasonDNS}, dns.KindBudget: {TempError, ReasonDNSBudget},
		dns.KindLoop: {PermError, ReasonDNSLoop}, dns.KindTooLarge: {PermError, ReasonDNSTooLarge},
	} {
		r := nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) {
			return dns.Answer{}, &dns.Error{Kind: kind}
		})
		c := CheckMailFrom(t.Context(), r, Args{IP: client, MailFrom: "a@example.com"})
		if c.Result != want.Result || c.Reason != want.Reason || c.DNSError == nil {
			t.Errorf("%s: %+v", kind, c)
		}
	}
	for why, err := range map[string]error{"as is": failure, "wrapped": fmt.Errorf("cache: %w", failure)} {
		r := nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) { return dns.Answer{}, err })
		c := CheckMailFrom(t.Context(), r, Args{IP: client, MailFrom: "a@example.com"})
		if c.Result != TempError || c.Reason != ReasonDNSBudget || c.DNSError != failure || !strings.Contains(c.Problem, "budget") {
			t.Errorf("%s: %+v", why, c)
		}
	}
	r := nameserver.Func(func(context.Context, dns.Name, dns.Type) (dns.Answer, error) {
		return dns.Answer{}, errors.New("out of order")
	})
	c := CheckMailFrom(t.Context(), r, Args{IP: client, MailFrom: "a@example.com"})
	if c.Result != TempError || c.DNSError != nil || !strings.Contains(c.Problem, "out of order") {
		t.Errorf("an error of another type: %+v", c)
	}
}

// largest is the Lookup function of a resolver. Its answers make a check send as
// many queries as RFC 7208 allows.
func largest(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	ans := dns.Answer{Name: name, Type: typ, Canonical: name}
	switch typ {
	case dns.TypeTXT:
		if name == "why.example.com" {
			ans.Records = []dns.Record{{Text: "%{p}"}}
			break
		}
		ans.Records = []dns.Record{{Text: "v=spf1" + strings.Repeat(" mx", MaxLookups) + " -all exp=why.example.com"}}
	case dns.TypeMX, dns.TypePTR:
		for i := range MaxHosts {
			ans.Records = append(ans.Records, dns.Record{Host: dns.Name(fmt.Sprintf("n%d.example.com", i))})
		}
	}
	return ans, nil
}

func TestMaxQueries(t *testing.T) {
	a := Args{IP: client, MailFrom: "a@example.com"}
	c := CheckMailFrom(t.Context(), nameserver.Func(largest), a)
	if c.Result != Fail || c.Explanation != "unknown" || c.Queries != MaxQueries {
		t.Errorf("the bound allows what RFC 7208 allows: %s, %q, %d queries (%s)", c.Result, c.Explanation, c.Queries, c.Problem)
	}
	bounded := func(most int) Check {
		var c Check
		e := evaluation{ctx: t.Context(), resolver: nameserver.Func(largest), args: a, ip: client, local: "a", check: &c, maxQueries: most}
		e.run("example.com")
		return c
	}
	if c := bounded(5); c.Result != TempError || c.Reason != ReasonQueryLimit || c.Queries != 5 {
		t.Errorf("with a bound of 5: %+v", c)
	}
	// If the bound stops the lookup of the explanation, the result is still fail.
	c = bounded(MaxQueries - 1)
	if last := c.Trace[len(c.Trace)-1]; c.Result != Fail || c.Explanation != "" || c.Queries != MaxQueries-1 {
		t.Errorf("with one query too few for the explanation: %s %q, %+v", c.Result, c.Explanation, last)
	}
	c = bounded(1 + MaxLookups*(1+MaxHosts) + 1) // the PTR query is not made
	if last := c.Trace[len(c.Trace)-1]; c.Explanation != "" || last.Outcome != OutcomeIgnored || last.Detail == "" {
		t.Errorf("without the names of the client: %q, %+v", c.Explanation, last)
	}
}

func TestTraceIsBounded(t *testing.T) {
	text := "v=spf1" + strings.Repeat(" ip4:1.1.1.1", 600)
	for i := range MaxLookups {
		text += fmt.Sprintf(" include:i%d.example.com", i)
	}
	r := nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
		ans := dns.Answer{Name: name, Type: typ, Canonical: name, Records: []dns.Record{{Text: "v=spf1" + strings.Repeat(" ip4:1.1.1.1", 600)}}}
		if name == "example.com" {
			ans.Records[0].Text = text
		}
		return ans, nil
	})
	c := CheckMailFrom(t.Context(), r, Args{IP: client, MailFrom: "a@example.com"})
	if c.Result != Neutral || c.Lookups != MaxLookups {
		t.Fatalf("the record gives %s: %s", c.Result, c.Problem)
	}
	if n := len(c.Trace); n != MaxTraceSteps || c.Trace[n-1].Outcome != OutcomeTruncated {
		t.Errorf("%d steps, the last is %+v", n, c.Trace[n-1])
	}
}

func TestRecordTooLong(t *testing.T) {
	text := "v=spf1 +all" + strings.Repeat(" ", MaxRecordLen)
	c := CheckMailFrom(t.Context(), recordOf(text), Args{IP: client, MailFrom: "a@example.com"})
	if c.Result != PermError || c.Reason != ReasonRecordTooLong || c.Record != "" {
		t.Errorf("a record of %d octets gives %s %s", len(text), c.Result, c.Reason)
	}
}

func TestLongClientValues(t *testing.T) {
	long := strings.Repeat("a.", maxMacroValue)
	record := "v=spf1 exists:%{h}.example.com exists:%{l1r}.example.com ~all"
	z := nameserver.Zone(t, `example.com TXT "`+record+`"`)
	c := CheckMailFrom(t.Context(), z, Args{IP: client, HELO: long, MailFrom: long + "@example.com"})
	if c.Result != SoftFail || c.Queries != 1 {
		t.Errorf("values over the bound do not match and are not asked for: %s, asked %v", c.Result, z.Queries())
	}
}

func TestExplanationIsBounded(t *testing.T) {
	for _, tc := range []struct {
		text, want, why string
	}{
		{strings.Repeat("x", 5000), strings.Repeat("x", MaxExplanationLen), "cut to what a reply line holds"},
		{strings.Repeat("%{h}", 17), "", "an expansion over the bound gives no explanation"},
		{strings.Repeat("%{d0001r}", 129), "", "more macros than the bound"},
		{strings.Repeat("x", MaxRecordLen+1), "", "a text over the record bound is not parsed"},
		{"caf\xc3\xa9", "", "US-ASCII only (RFC 7208 §6.2)"},
		{"a\tb", "", "control characters are not in the grammar"},
		{"%{l", "", "a syntax error gives no explanation"},
		{"", "", "an empty text"},
		{"100%%%_%-", "100% %20", "the three escapes (RFC 7208 §7.1)"},
	} {
		r := nameserver.Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
			text := tc.text
			if name == "example.com" {
				text = "v=spf1 -all exp=why.example.com"
			}
			return dns.Answer{Name: name, Type: typ, Canonical: name, Records: []dns.Record{{Text: text}}}, nil
		})
		c := CheckMailFrom(t.Context(), r, Args{IP: client, HELO: strings.Repeat("h", 1000), MailFrom: "a@example.com"})
		if c.Result != Fail || c.Explanation != tc.want {
			t.Errorf("%s: %s %q", tc.why, c.Result, c.Explanation)
		}
	}
}

func TestCheckAsJSON(t *testing.T) {
	z := nameserver.Zone(t, `
example.com TXT "v=spf1 include:a.example.com -all"
a.example.com TXT "v=spf1 ip4:192.0.2.1"
`)
	c := CheckMailFrom(t.Context(), z, Args{IP: client, MailFrom: "a@example.com"})
	got, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "identity": "mailfrom",
 "result": "pass",
 "domain": "example.com",
 "sender": "a@example.com",
 "mechanism": "include:a.example.com",
 "record": "v=spf1 include:a.example.com -all",
 "lookups": 1,
 "void_lookups": 0,
 "queries": 2,
 "trace": [
  {
   "domain": "example.com",
   "outcome": "record",
   "detail": "v=spf1 include:a.example.com -all",
   "depth": 0
  },
  {
   "domain": "example.com",
   "term": "include:a.example.com",
   "outcome": "enter",
   "detail": "a.example.com",
   "depth": 0
  },
  {
   "domain": "a.example.com",
   "outcome": "record",
   "detail": "v=spf1 ip4:192.0.2.1",
   "depth": 1
  },
  {
   "domain": "a.example.com",
   "term": "ip4:192.0.2.1",
   "outcome": "match",
   "depth": 1
  },
  {
   "domain": "example.com",
   "term": "include:a.example.com",
   "outcome": "match",
   "detail": "a.example.com: pass by ip4:192.0.2.1",
   "depth": 0
  }
 ]
}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}

// TestSkippable checks which failed lookups ptr and %{p} skip: those that only say something of the name that was
// asked for, and no limit of the whole check (RFC 7208 §5.5).
func TestSkippable(t *testing.T) {
	for reason, want := range map[Reason]bool{
		ReasonDNS: true, ReasonDNSLoop: true, ReasonDNSTooLarge: true,
		ReasonDNSBudget: false, ReasonTimeLimit: false, ReasonQueryLimit: false, ReasonLookupLimit: false, ReasonVoidLimit: false, ReasonSyntax: false, "": false,
	} {
		if got := (&halt{reason: reason}).skippable(); got != want {
			t.Errorf("%s: %t", reason, got)
		}
	}
}
