package msgauth

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// knows is an Indicators that knows one mark, and keeps what it was asked.
type knows struct {
	answer bimi.Answer
	asked  []bimi.Query
}

func (k *knows) Find(_ context.Context, q bimi.Query) bimi.Answer {
	k.asked = append(k.asked, q)
	return k.answer
}

func aMark() *knows {
	m := &bimi.Mark{SVG: []byte("<svg/>"), Certified: true, Type: string(bimi.RegisteredMark), Same: true}
	return &knows{answer: bimi.Answer{Result: bimi.Pass, Authority: bimi.AuthorityPass, Mark: m.Prepared(), Checks: []bimi.Check{{Word: "chain", OK: true}}}}
}

const markZone = `
_dmarc.example.com TXT "v=DMARC1; p=reject"
default._bimi.example.com TXT "v=BIMI1; l=https://example.com/l.svg; a=https://example.com/a.pem"
`

// marked returns a message that may have a mark, and its zone.
func marked(t testing.TB) (zone, raw string) {
	zone, message := signed(t)
	var kept []string
	for line := range strings.SplitSeq(zone, "\n") { // without the policy of the benchmark
		if !strings.HasPrefix(line, "_dmarc.example.com") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n") + markZone, string(message)
}

func strict(k bimi.Indicators) Options {
	return Options{Indicators: k, BIMI: bimi.Options{RequireCertificate: true, RequireDKIM: true}, Now: stopped()}
}

func TestMark(t *testing.T) {
	zone, raw := marked(t)
	k := aMark()
	e := evaluate(t, NewVerifier(nameserver.Zone(t, zone), strict(k)), "<a@example.com>", raw)
	if e.BIMI == nil || e.BIMI.Result != bimi.Pass || e.BIMI.Mark != k.answer.Mark || e.BIMI.Domain != "example.com" {
		t.Fatalf("got %+v", e.BIMI)
	}
	want := bimi.Query{Domain: "example.com", Selector: "default", Organization: "example.com", Location: "https://example.com/l.svg", Evidence: "https://example.com/a.pem"}
	if len(k.asked) != 1 || k.asked[0] != want {
		t.Errorf("asked %+v", k.asked)
	}
	if c := e.Cost[BIMI]; c.Lookups != 2 { // the top-level domain's policy, and the record
		t.Errorf("cost %+v", c)
	}
	var words []string
	for _, c := range e.BIMI.Checks {
		words = append(words, c.Word)
	}
	if got := strings.Join(words, " "); got != "dmarc from dkim policy organization record chain" {
		t.Errorf("checks %s", got)
	}
}

// TestMarkOff checks that nothing is looked up, and nothing accounted, if marks are not looked for.
func TestMarkOff(t *testing.T) {
	zone, raw := marked(t)
	z := nameserver.Zone(t, zone)
	var e *Evaluation
	synctest.Test(t, func(t *testing.T) {
		e = evaluate(t, NewVerifier(z, Options{Now: stopped()}), "<a@example.com>", raw)
		synctest.Wait() // the lookups are made in goroutines
	})
	if _, counted := e.Cost[BIMI]; e.BIMI != nil || counted {
		t.Errorf("got %+v, cost %+v", e.BIMI, e.Cost)
	}
	for _, q := range z.Queries() {
		if strings.Contains(q, "_bimi") || q == "_dmarc.com TXT" {
			t.Errorf("asked %s", q)
		}
	}
}

// TestMarkNotAsked checks that Indicators is not asked about a message that may have no mark, because
// asking may begin a fetch.
func TestMarkNotAsked(t *testing.T) {
	zone, raw := marked(t)
	for why, c := range map[string]struct{ zone, raw, from, want string }{
		"a spoof":             {zone, "From: a@example.com\r\n\r\nx\r\n", "<x@evil.example>", "skipped dmarc"},
		"SPF alone":           {zone, "From: a@example.com\r\n\r\nx\r\n", "<a@example.com>", "skipped dkim"},
		"a changed body":      {zone, raw + "more\r\n", "<a@example.com>", "skipped dkim"},
		"no single author":    {zone, "From: a@example.com\r\nFrom: b@example.com\r\n\r\nx\r\n", "<a@example.com>", "skipped dmarc"},
		"p=none":              {strings.Replace(zone, "p=reject", "p=none", 1), raw, "<a@example.com>", "skipped dmarc_policy"},
		"no record":           {strings.Replace(zone, "default._bimi", "other._bimi", 1), raw, "<a@example.com>", "none no_record"},
		"no certificate":      {strings.Replace(zone, "; a=https://example.com/a.pem", "", 1), raw, "<a@example.com>", "none no_certificate"},
		"unsigned selector":   {zone + "x._bimi.example.com TXT \"v=BIMI1; l=; a=\"\n", "BIMI-Selector: v=BIMI1; s=x\r\n" + raw, "<a@example.com>", "pass "},
		"two selector fields": {zone, "BIMI-Selector: v=BIMI1; s=x\r\nBIMI-Selector: v=BIMI1; s=x\r\n" + raw, "<a@example.com>", "fail several_selectors"},
	} {
		k := aMark()
		e := evaluate(t, NewVerifier(nameserver.Zone(t, c.zone), strict(k)), c.from, c.raw)
		if got := string(e.BIMI.Result) + " " + e.BIMI.Reason; got != c.want || (len(k.asked) > 0) != (c.want == "pass ") {
			t.Errorf("%s: %s, asked %v; want %s", why, got, k.asked, c.want)
		}
	}
}

// TestMarkSlow checks that a message waits no longer than the grace for the record of the mark, and that
// a mark which is waited for by the operator's wish is within the message's time.
func TestMarkSlow(t *testing.T) {
	zone, raw := marked(t)
	for _, name := range []dns.Name{"default._bimi.example.com", "_dmarc.com"} {
		synctest.Test(t, func(t *testing.T) {
			k := aMark()
			o := strict(k)
			o.Grace = 300 * time.Millisecond
			z := late{next: nameserver.Zone(t, zone), delays: map[dns.Name]time.Duration{name: 5 * time.Second}}
			begin := time.Now()
			e := evaluate(t, NewVerifier(z, o), "<a@example.com>", raw)
			if e.BIMI.Result != bimi.TempError || !slices.Contains([]string{bimi.ReasonTime, bimi.ReasonDNS}, e.BIMI.Reason) || len(k.asked) > 0 {
				t.Errorf("%s: got %+v", name, e.BIMI)
			}
			if waited := time.Since(begin); waited > 2*o.Grace {
				t.Errorf("%s: waited %s", name, waited)
			}
			time.Sleep(10 * time.Second) // the lookup ends
			synctest.Wait()
			if len(k.asked) > 0 {
				t.Errorf("%s: asked %v after the message", name, k.asked)
			}
		})
	}
}

// bombs is an Indicators with a bug.
type bombs struct{}

func (bombs) Find(context.Context, bimi.Query) bimi.Answer { panic("find") }

func TestMarkPanics(t *testing.T) {
	zone, raw := marked(t)
	for _, v := range []*Verifier{
		NewVerifier(nameserver.Zone(t, zone), strict(bombs{})),
		NewVerifier(bomb{next: nameserver.Zone(t, zone), typ: dns.TypeTXT, name: "default._bimi.example.com"}, strict(aMark())),
	} {
		e := evaluate(t, v, "<a@example.com>", raw)
		if e.BIMI.Result != bimi.TempError || e.BIMI.Reason != bimi.ReasonInternal || len(e.Panics) != 1 || e.Panics[0].Component != BIMI {
			t.Errorf("got %+v, panics %+v", e.BIMI, e.Panics)
		}
		if e.DMARC.Result != "pass" {
			t.Errorf("DMARC is %s", e.DMARC.Result)
		}
	}
}

// TestMarkLookups checks the limit on lookups: the walk of a deep name does not fit.
func TestMarkLookups(t *testing.T) {
	if maxBIMILookups != 8 {
		t.Error("BIMI may make eight lookups")
	}
	zone, raw := marked(t)
	e := evaluate(t, NewVerifier(nameserver.Zone(t, zone), strict(aMark())), "<a@example.com>", raw)
	if n := e.Cost[BIMI].Lookups; n > maxBIMILookups {
		t.Errorf("%d lookups", n)
	}
	s := &stage{}
	s.setUp(&Connection{v: NewVerifier(nameserver.Zone(t, zone), Options{})}, bimiStage, "example.com")
	for range maxBIMILookups {
		if _, err := s.Lookup(t.Context(), "example.com", dns.TypeTXT); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Lookup(t.Context(), "example.com", dns.TypeTXT); err == nil {
		t.Error("a ninth lookup was made")
	}
}

// BenchmarkMark measures a message with a mark, every answer and the mark being known. "off" is the
// same message without looking for marks.
func BenchmarkMark(b *testing.B) {
	zone, raw := marked(b)
	for _, bc := range []struct {
		name string
		o    Options
	}{{"off", Options{Now: stopped()}}, {"on", strict(fixed{aMark().answer})}} {
		b.Run(bc.name, func(b *testing.B) {
			v := NewVerifier(newMemory(nameserver.Zone(b, zone)), bc.o)
			benchmark(b, v, []byte(raw))
		})
	}
}

// fixed is an Indicators that always gives one answer.
type fixed struct{ bimi.Answer }

func (f fixed) Find(context.Context, bimi.Query) bimi.Answer { return f.Answer }
