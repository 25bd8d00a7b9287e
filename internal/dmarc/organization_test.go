package dmarc

import (
	"context"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func TestOrganizationRecord(t *testing.T) {
	const zone = `
_dmarc.example.com TXT "v=DMARC1; p=quarantine; pct=50"
_dmarc.news.example.com TXT "v=DMARC1; p=reject"
_dmarc.co.example TXT "v=DMARC1; p=reject; psd=y"
_dmarc.shop.alone.example TXT "v=DMARC1; p=reject"
`
	for _, c := range []struct {
		why    string
		author dns.Name
		o      Options
		domain dns.Name
		raw    string // "" for none
		asked  int    // questions after Discover
	}{
		{"the author has a record", "news.example.com", Options{}, "example.com", "v=DMARC1; p=quarantine; pct=50", 2},
		{"the author is the organization", "example.com", Options{}, "example.com", "v=DMARC1; p=quarantine; pct=50", 1},
		{"the author has none", "a.b.example.com", Options{}, "example.com", "v=DMARC1; p=quarantine; pct=50", 0},
		{"below a registry", "a.shop.co.example", Options{}, "shop.co.example", "", 0},
		{"the author is the registry", "co.example", Options{}, "co.example", "v=DMARC1; p=reject; psd=y", 0},
		{"nothing", "a.none.example", Options{}, "a.none.example", "", 0},
		{"by the list", "shop.alone.example", Options{Method: PSL, PSL: testList(t)}, "alone.example", "", 1},
	} {
		z := nameserver.Zone(t, zone)
		d := Discover(t.Context(), z, c.author, c.o)
		before, trace, org := len(z.Queries()), len(d.Trace), d.OrganizationalDomain
		for range 2 {
			got, err := d.OrganizationRecord(t.Context(), z)
			raw := ""
			if got.Record != nil {
				raw = got.Record.Raw
			}
			if err != nil || got.Domain != c.domain || raw != c.raw {
				t.Errorf("%s: got %s %q, %v, want %s %q", c.why, got.Domain, raw, err, c.domain, c.raw)
			}
		}
		if asked := len(z.Queries()) - before; asked != 2*c.asked {
			t.Errorf("%s: asked %q after Discover", c.why, z.Queries()[before:])
		}
		if len(d.Trace) != trace || d.OrganizationalDomain != org {
			t.Errorf("%s: the Discovery changed", c.why)
		}
	}
}

// TestOrganizationRecordAgain checks that a failed lookup is not remembered.
func TestOrganizationRecordAgain(t *testing.T) {
	z := nameserver.Zone(t, `_dmarc.example.com TXT "v=DMARC1; p=reject"`+"\n"+`_dmarc.a.example.com TXT "v=DMARC1; p=reject"`)
	d := Discover(t.Context(), z, "a.example.com", Options{})
	if _, err := d.OrganizationRecord(t.Context(), unavailable{}); err == nil {
		t.Fatal("no error without an answer")
	}
	byList := Discover(t.Context(), z, "a.example.com", Options{Method: PSL, PSL: testList(t)})
	if got, err := byList.OrganizationRecord(t.Context(), unavailable{}); err == nil {
		t.Errorf("by the list, no error without an answer: %+v", got)
	}
	if got, err := d.OrganizationRecord(t.Context(), z); err != nil || got.Domain != "example.com" || got.Record == nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

type unavailable struct{ dns.LookupOnly }

func (unavailable) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ}
}

func TestPercent(t *testing.T) {
	for in, want := range map[string]string{
		"v=DMARC1; p=quarantine":                     "",
		"v=DMARC1; p=quarantine; pct=100":            "100",
		"v=DMARC1; p=quarantine; PCT = 5 ":           "5",
		"v=DMARC1; p=quarantine; pct=":               "empty",
		"v=DMARC1; p=quarantine; pct=100; pct=1":     "100,1",
		"v=DMARC1; p=quarantine; pct=all; pct=; rf=": "all,",
	} {
		r, err := ParseRecord(in)
		if err != nil || r.Percent != want || len(r.Invalid) > 0 || !slices.Equal(r.FO, []string{"0"}) {
			t.Errorf("%s: pct %q, %v, want %q", in, r.Percent, err, want)
		}
	}
}

// TestExistenceNotAsked checks that nothing is asked about the existence of an author who has a record of
// its own, or whose policy no np= could change.
func TestExistenceNotAsked(t *testing.T) {
	for record, want := range map[string]bool{
		`_dmarc.a.example.com TXT "v=DMARC1; p=reject; np=none"`:                      false,
		`_dmarc.example.com TXT "v=DMARC1; p=reject"`:                                 false,
		`_dmarc.example.com TXT "v=DMARC1; p=x; np=reject; rua=mailto:a@example.com"`: false,
		`_dmarc.example.com TXT "v=DMARC1; p=reject; np=none"`:                        true,
	} {
		z := nameserver.Zone(t, record)
		e := Discover(t.Context(), z, "a.example.com", Options{}).Evaluate(t.Context(), z, nil)
		asked := slices.ContainsFunc(z.Queries(), func(q string) bool { return strings.HasPrefix(q, "a.example.com ") })
		if asked != want || (e.AuthorExists != nil) != want || e.Record == nil {
			t.Errorf("%s: asked %q, known %t", record, z.Queries(), e.AuthorExists != nil)
		}
	}
}
