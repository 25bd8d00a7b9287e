package spf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
)

func FuzzParseRecord(f *testing.F) {
	for _, c := range readCases(f) {
		for line := range strings.Lines(c.zone) {
			if _, text, found := strings.Cut(line, ` TXT "`); found {
				f.Add(strings.TrimSuffix(strings.TrimSpace(text), `"`))
			}
		}
	}
	f.Add("v=spf1 moo.cow-far_out=man:dog/cat ip6:::1.1.1.1//33 a:%{D128r-+,/_=}/0//0 redirect=%_%%%-")
	f.Fuzz(func(t *testing.T, text string) {
		rec, err := ParseRecord(text)
		if err != nil {
			var syntax *SyntaxError
			if errors.As(err, &syntax) && text[syntax.Offset:syntax.Offset+len(syntax.Term)] != syntax.Term {
				t.Fatalf("%q is not at %d of %q", syntax.Term, syntax.Offset, text)
			}
			if msg := err.Error(); !printable.IsPlain(msg) || len(msg) > 500 {
				t.Fatalf("unsafe message %q", msg)
			}
			return
		}
		// No term of a valid record may be lost. The terms joined by single spaces
		// must parse into the same number of directives.
		terms := strings.Fields(text)[1:]
		count := len(rec.Directives) + len(rec.Unknown)
		for _, m := range []*Modifier{rec.Redirect, rec.Exp} {
			if m != nil {
				count++
			}
		}
		if count != len(terms) {
			t.Fatalf("%d terms of %d in %q", count, len(terms), text)
		}
		for _, d := range rec.Directives {
			if !printable.IsPlain(d.Text) || !strings.Contains(text, d.Text) {
				t.Fatalf("directive %q of %q", d.Text, text)
			}
			if (d.DomainSpec == "") != (d.target == nil) {
				t.Fatalf("%+v has a domain-spec and no target, or the reverse", d)
			}
		}
		if again, err := ParseRecord("v=spf1 " + strings.Join(terms, " ")); err != nil || len(again.Directives) != len(rec.Directives) {
			t.Fatalf("with single spaces: %v", err)
		}
	})
}

func FuzzExpand(f *testing.F) {
	f.Add("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "strong-bad", "mail.example.com", false)
	f.Add("see http://%{d}/why.html?s=%{S}&i=%{I}&h=%{H};%_%%%-%{p}%{r}%{t}%{c}", "j\xc3\xb6rg..", "[1.2.3.4]", true)
	f.Add("%{d99999999999999999999999999r}.example.com", "-", ".", false)
	f.Fuzz(func(t *testing.T, macros, local, helo string, v6 bool) {
		m, reason := parseMacros(macros, inExplanation)
		if (m == nil) != (reason != "") {
			t.Fatalf("%v with reason %q", m, reason)
		}
		if reason != "" {
			return
		}
		ip := "192.0.2.3"
		if v6 {
			ip = "2001:db8::cb01"
		}
		e := newEvaluation(t, ip)
		e.local, e.args.HELO = local, helo
		text, owned, problem, h := e.expand(m, "email.example.com")
		if h != nil {
			t.Fatalf("expansion ends the check: %+v", h)
		}
		if problem != "" {
			if text != "" {
				t.Fatalf("text %q with problem %q", text, problem)
			}
			return
		}
		if owned > len(text) {
			t.Fatalf("%d of %d octets come from the owner of the record", owned, len(text))
		}
		if len(text) > maxExpansion {
			t.Fatalf("%d octets", len(text))
		}
		if name := truncateName(text); len(name) > dns.MaxNameLen || !strings.HasSuffix(strings.TrimSuffix(text, "."), name) {
			t.Fatalf("%q is cut to %q", text, name)
		}
		if !strings.Contains(macros, "%") && text != macros {
			t.Fatalf("%q became %q", macros, text)
		}
	})
}

// fuzzZone is a resolver whose answers depend only on the fuzz input and the
// question. SPF records are lines of the input, and all other data comes from a
// hash.
type fuzzZone struct {
	dns.LookupOnly
	records []string
	seed    byte
	asked   int
}

func (z *fuzzZone) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	z.asked++
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %s %d", name, typ, z.seed)
	dice := h.Sum32() >> 3
	ans := dns.Answer{Name: name, Type: typ, Canonical: name}
	switch dice % 16 {
	case 0:
		return dns.Answer{}, &dns.Error{Kind: dns.KindServFail, Name: name, Type: typ}
	case 1:
		ans.Status = dns.NXDomain
		return ans, nil
	case 2:
		return ans, nil
	}
	count := int(dice>>4)%13 + 1
	for i := range count {
		switch typ {
		case dns.TypeTXT:
			// Most answers have one TXT record, some have several.
			if i == 0 || dice%16 == 3 {
				ans.Records = append(ans.Records, dns.Record{Text: z.records[(int(dice>>8)+i)%len(z.records)]})
			}
		case dns.TypeA:
			ans.Records = append(ans.Records, dns.Record{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(int(dice>>8) + i)})})
		case dns.TypeAAAA:
			ans.Records = append(ans.Records, dns.Record{Addr: netip.AddrFrom16([16]byte{0x20, 1, 15: byte(int(dice>>8) + i)})})
		default:
			ans.Records = append(ans.Records, dns.Record{Host: dns.Name(fmt.Sprintf("n%d.example.com", (int(dice>>8)+i)%20))})
		}
	}
	return ans, nil
}

func FuzzCheckMailFrom(f *testing.F) {
	for i, c := range readCases(f) {
		var records []string
		for line := range strings.Lines(c.zone) {
			if _, text, found := strings.Cut(line, ` TXT "`); found {
				records = append(records, strings.TrimSuffix(strings.TrimSpace(text), `"`))
			}
		}
		f.Add(strings.Join(records, "\n"), c.values["from"], c.values["helo"], byte(i), i%3 == 0)
	}
	f.Fuzz(func(t *testing.T, records, from, helo string, seed byte, v6 bool) {
		z := &fuzzZone{records: strings.Split(records, "\n"), seed: seed}
		a := Args{IP: client, HELO: helo, MailFrom: from}
		if v6 {
			a.IP = netip.MustParseAddr("2001::1")
		}
		c := CheckMailFrom(t.Context(), z, a)
		verifyCheck(t, c, z)
		if !mayPass(z.records) && c.Result == Pass {
			t.Fatalf("pass out of %q", records)
		}
	})
}

// verifyCheck checks the properties that every check must have.
func verifyCheck(t *testing.T, c Check, z *fuzzZone) {
	t.Helper()
	if z.asked != c.Queries || c.Queries > MaxQueries || c.Lookups > MaxLookups || c.VoidLookups > MaxVoidLookups+1 || len(c.Trace) > MaxTraceSteps {
		t.Fatalf("limits: %d asked, %+v", z.asked, c)
	}
	if !printable.IsPlain(c.Explanation) || len(c.Explanation) > MaxExplanationLen || (c.Explanation != "" && c.Result != Fail) {
		t.Fatalf("explanation %q of %s", c.Explanation, c.Result)
	}
	if !printable.IsPlain(c.Problem) {
		t.Fatalf("problem %q", c.Problem)
	}
	switch c.Result {
	case None, TempError, PermError:
		if c.Reason == "" || c.Problem == "" || c.Mechanism != "" {
			t.Fatalf("%+v", c)
		}
	case Pass, Fail, SoftFail, Neutral:
		if c.Reason != "" || c.Mechanism == "" {
			t.Fatalf("%+v", c)
		}
		if c.Mechanism != "default" && !matched(c) {
			t.Fatalf("%s by %s, which did not match: %+v", c.Result, c.Mechanism, c.Trace)
		}
	default:
		t.Fatalf("result %q", c.Result)
	}
	if c.Result == Pass && strings.ContainsAny(c.Mechanism[:1], "-~?") {
		t.Fatalf("pass by %s", c.Mechanism)
	}
	for _, s := range c.Trace {
		if !printable.IsPlain(s.Term) || !printable.IsPlain(s.Detail) {
			t.Fatalf("step %+v", s)
		}
	}
	if _, err := json.Marshal(c); err != nil {
		t.Fatal(err)
	}
}

// matched reports whether the trace has the match that decided the result. It
// returns true if the trace was truncated, because a truncated trace may lack the
// match.
func matched(c Check) bool {
	for i := len(c.Trace) - 1; i >= 0; i-- {
		if s := c.Trace[i]; s.Outcome == OutcomeTruncated || (s.Outcome == OutcomeMatch && s.Term == c.Mechanism) {
			return true
		}
	}
	return false
}

// mayPass reports whether any term of the records may have the qualifier pass.
// It looks only at the first octet of each term.
func mayPass(records []string) bool {
	for _, text := range records {
		for i, term := range strings.Split(text, " ") {
			if i > 0 && term != "" && !strings.ContainsAny(term[:1], "-~?") {
				return true
			}
		}
	}
	return false
}
