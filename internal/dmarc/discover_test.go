package dmarc

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func evaluate(tb testing.TB, c evalCase) Evaluation {
	tb.Helper()
	z := nameserver.Zone(tb, c.zone)
	return Discover(tb.Context(), z, c.author, c.options).Evaluate(tb.Context(), z, c.ids)
}

func TestWalkNames(t *testing.T) {
	cases := []struct {
		why, start, want string
	}{
		{"root", "", ""},
		{"one label", "com", "com"},
		{"three labels", "a.b.c", "a.b.c b.c c"},
		{"seven labels: seven queries", "1.2.3.4.5.6.7", "1.2.3.4.5.6.7 2.3.4.5.6.7 3.4.5.6.7 4.5.6.7 5.6.7 6.7 7"},
		{"eight labels: eight queries", "1.2.3.4.5.6.7.8", "1.2.3.4.5.6.7.8 2.3.4.5.6.7.8 3.4.5.6.7.8 4.5.6.7.8 5.6.7.8 6.7.8 7.8 8"},
		{"nine labels skip one", "0.1.2.3.4.5.6.7.8", "0.1.2.3.4.5.6.7.8 2.3.4.5.6.7.8 3.4.5.6.7.8 4.5.6.7.8 5.6.7.8 6.7.8 7.8 8"},
		{"the most labels a name can have", strings.Repeat("a.", 126) + "a",
			strings.Repeat("a.", 126) + "a a.a.a.a.a.a.a a.a.a.a.a.a a.a.a.a.a a.a.a.a a.a.a a.a a"},
	}
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			var got []string
			for _, n := range walkNames(dns.Name(c.start)) {
				got = append(got, string(n))
			}
			if strings.Join(got, " ") != c.want || len(got) != len(strings.Fields(c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestOrganizationAsksOnce(t *testing.T) {
	z := nameserver.Zone(t, `_dmarc.example.com TXT "v=DMARC1; p=none"`)
	d := Discover(t.Context(), z, "example.com", Options{})
	if d.OrganizationalDomain != "" {
		t.Errorf("organizational domain %q before it was needed", d.OrganizationalDomain)
	}
	for range 2 {
		if org, err := d.Organization(t.Context(), z); err != nil || org != "example.com" {
			t.Errorf("got %q, %v", org, err)
		}
	}
	if want := []string{"_dmarc.example.com TXT", "_dmarc.com TXT"}; !slices.Equal(z.Queries(), want) {
		t.Errorf("asked %q, want %q", z.Queries(), want)
	}
}

func TestOrganizationError(t *testing.T) {
	z := nameserver.Zone(t, "_dmarc.example.com TXT \"v=DMARC1; p=none\"\n! _dmarc.com TXT timeout")
	d := Discover(t.Context(), z, "example.com", Options{})
	for range 2 {
		_, err := d.Organization(t.Context(), z)
		var de *DNSError
		if !errors.As(err, &de) || de.Error() != "dmarc: _dmarc.com TXT: timeout" {
			t.Errorf("got %v", err)
		}
	}
	if len(z.Queries()) != 2 {
		t.Errorf("asked %q", z.Queries())
	}
}

// TestUnusableIsNoAbsence checks that a loop of aliases, or an answer with too many
// records, counts as a failed lookup and not as "no record": the name may have a
// policy.
func TestUnusableIsNoAbsence(t *testing.T) {
	for kind, broken := range map[string]string{
		"loop":      "_dmarc.a.example.com CNAME _dmarc.a.example.com",
		"too_large": strings.Repeat("_dmarc.a.example.com TXT x\n", dns.MaxRecords+1),
	} {
		z := nameserver.Zone(t, "_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n"+broken)
		d := Discover(t.Context(), z, "a.example.com", Options{})
		e := d.Evaluate(t.Context(), z, nil)
		if d.Error == nil || d.Error.Kind != kind || e.Result != ResultTempError || e.DNSError == nil || e.DNSError.Kind != kind {
			t.Errorf("%s: %+v, %+v", kind, d.Error, e)
		}
	}
}

// brokenResolver fails with an error that is not a *dns.Error, which resolvers
// should not do.
type brokenResolver struct{ dns.LookupOnly }

func (brokenResolver) Lookup(context.Context, dns.Name, dns.Type) (dns.Answer, error) {
	return dns.Answer{}, errors.New("broken")
}

func TestForeignError(t *testing.T) {
	d := Discover(t.Context(), brokenResolver{}, "example.com", Options{})
	if d.Error == nil || d.Error.Kind != "unknown" || d.Error.Detail != "broken" {
		t.Errorf("error %+v", d.Error)
	}
}

// TestRecordOverOurBound checks that a record longer than MaxRecordLen counts as a
// failed lookup and not as a missing record, and that the tree walk goes on with
// the names above it.
func TestRecordOverOurBound(t *testing.T) {
	long := `"v=DMARC1; p=reject; x=` + strings.Repeat("x", 200) + `"` + strings.Repeat(` "`+strings.Repeat("x", 250)+`"`, MaxRecordLen/250)
	for _, c := range []struct {
		why, zone, want string
	}{
		{"the author's record", "_dmarc.a.bank.example TXT " + long + "\n_dmarc.bank.example TXT \"v=DMARC1; p=reject\"", "temperror too_large reject"},
		{"the record above the author", "_dmarc.bank.example TXT " + long, "temperror too_large "},
		{"one of two: all are discarded (§4.10)", "_dmarc.a.bank.example TXT " + long + "\n_dmarc.a.bank.example TXT \"v=DMARC1; p=none\"", "none  "},
	} {
		e := evaluate(t, evalCase{author: "a.bank.example", zone: c.zone})
		kind := ""
		if e.DNSError != nil {
			kind = e.DNSError.Kind
		}
		if got := strings.Join([]string{string(e.Result), kind, string(e.Enforcing)}, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}

func TestDiscoveryJSON(t *testing.T) {
	z := nameserver.Zone(t, "! _dmarc.com TXT servfail")
	got, err := json.Marshal(Discover(t.Context(), z, "example.com", Options{}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"author_domain":"example.com","method":"treewalk",` +
		`"error":{"kind":"servfail","name":"_dmarc.com","type":"TXT","detail":"dns: _dmarc.com TXT: servfail`
	if !strings.HasPrefix(string(got), want) {
		t.Errorf("got  %s\nwant %s...", got, want)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	z := nameserver.Zone(b, "_dmarc.example.com TXT \"v=DMARC1; p=reject; rua=mailto:d@example.com\"")
	ids := []Identifier{{Mechanism: SPF, Domain: "bounce.example.com", State: StatePass}, {Mechanism: DKIM, Domain: "example.com", State: StatePass}}
	b.ReportAllocs()
	for b.Loop() {
		d := Discover(b.Context(), z, "news.example.com", Options{})
		if e := d.Evaluate(b.Context(), z, ids); e.Result != ResultPass {
			b.Fatal(e.Result)
		}
	}
}

// TestFindings checks what the trace says of each kind of answer to the first question.
func TestFindings(t *testing.T) {
	const name = "_dmarc.bank.example"
	for _, c := range []struct {
		why, zone string
		want      Finding
		kind      string
	}{
		{"no such name", "other.example A 192.0.2.1", FoundNXDomain, ""},
		{"a name without records", "a." + name + " A 192.0.2.1", FoundNothing, ""},
		{"a text that is not a record", name + ` TXT "v=spf1 -all"`, FoundNothing, ""},
		{"a record", name + ` TXT "v=DMARC1; p=none"`, FoundRecord, ""},
		{"two records", name + ` TXT "v=DMARC1; p=none"` + "\n" + name + ` TXT "v=DMARC1; p=reject"`, FoundMultiple, ""},
		{"a tag twice", name + ` TXT "v=DMARC1; p=none; p=none"`, FoundMalformed, ""},
		{"no answer", "! " + name + " TXT timeout", FoundError, "timeout"},
	} {
		step := Discover(t.Context(), nameserver.Zone(t, c.zone), "bank.example", Options{}).Trace[0]
		kind := ""
		if step.Error != nil {
			kind = step.Error.Kind
		}
		if step.Name != name || step.Found != c.want || kind != c.kind {
			t.Errorf("%s: %s %s %q, want %s %q", c.why, step.Name, step.Found, kind, c.want, c.kind)
		}
	}
}

// TestExistenceFindings checks what the trace says of each kind of answer to the question whether the author
// exists.
func TestExistenceFindings(t *testing.T) {
	for _, c := range []struct {
		why, zone string
		want      Finding
		failed    string
	}{
		{"an address", "a.bank.example A 192.0.2.1", FoundExists, ""},
		{"another record", "a.bank.example MX 10 mx.bank.example", FoundExists, ""},
		{"no such name", "", FoundNXDomain, ""},
		{"no answer", "! a.bank.example A servfail", FoundError, "dmarc: a.bank.example A: servfail"},
	} {
		e := evaluate(t, evalCase{author: "a.bank.example", zone: "_dmarc.bank.example TXT \"v=DMARC1; p=reject; np=none\"\n" + c.zone})
		step, failed := e.Trace[len(e.Trace)-1], ""
		if step.Error != nil {
			failed = step.Error.Error()
		}
		if step.Name != "a.bank.example" || step.Type != dns.TypeA || step.Purpose != PurposeExistence || step.Found != c.want || failed != c.failed {
			t.Errorf("%s: %+v, want %s %q", c.why, step, c.want, c.failed)
		}
	}
}

// TestAligns checks when it is certain that a pass for a domain is a pass of DMARC, without a further question.
func TestAligns(t *testing.T) {
	byList := Options{Method: PSL, PSL: testList(t)}
	const own, org, strictSPF = `_dmarc.a.example.com TXT "v=DMARC1; p=reject"`, `_dmarc.example.com TXT "v=DMARC1; p=reject"`, `_dmarc.a.example.com TXT "v=DMARC1; p=reject; aspf=s"`
	for _, c := range []struct {
		why, zone string
		o         Options
		domain    dns.Name
		spf, dkim bool
	}{
		{"the author's domain", own, Options{}, "a.example.com", true, true},
		{"the organization, which the walk found", org, Options{}, "example.com", true, true},
		{"the organization, before a walk", own, Options{}, "example.com", false, false},
		{"a sibling", org, Options{}, "b.example.com", false, false},
		{"a sibling, by the list", own, byList, "b.example.com", true, true},
		{"the same, strictly for SPF", strictSPF, byList, "b.example.com", false, true},
		{"the author's domain, strictly for SPF", strictSPF, byList, "a.example.com", true, true},
		{"another domain of the same top-level domain", own, byList, "example-2.com", false, false},
		{"another top-level domain", own, byList, "a.example", false, false},
		{"no domain", org, Options{}, "", false, false},
		{"no record", "", Options{}, "a.example.com", false, false},
		{"a record that does not apply", `_dmarc.a.example.com TXT "v=DMARC1; p=x"`, Options{}, "a.example.com", false, false},
		{"no answer", "! _dmarc.a.example.com TXT servfail\n" + org, Options{}, "a.example.com", false, false},
	} {
		d := Discover(t.Context(), nameserver.Zone(t, c.zone), "a.example.com", c.o)
		if spf, dkim := d.Aligns(SPF, c.domain), d.Aligns(DKIM, c.domain); spf != c.spf || dkim != c.dkim {
			t.Errorf("%s: SPF %t, DKIM %t", c.why, spf, dkim)
		}
	}
}

// TestPurposes checks what the trace says each question was asked for.
func TestPurposes(t *testing.T) {
	byList := Options{Method: PSL, PSL: testList(t)}
	for _, c := range []struct {
		author, id dns.Name
		o          Options
		want       []string
	}{
		{"a.b.example.com", "x.y.example.com", Options{}, []string{"_dmarc.a.b.example.com author", "_dmarc.b.example.com policy", "_dmarc.example.com policy",
			"_dmarc.com policy", "_dmarc.x.y.example.com identifier", "_dmarc.y.example.com identifier", "a.b.example.com existence"}},
		{"example.com", "mail.example.com", Options{}, []string{"_dmarc.example.com author", "_dmarc.com organizational", "_dmarc.mail.example.com identifier"}},
		{"a.b.example.com", "x.y.example.com", byList, []string{"_dmarc.a.b.example.com author", "_dmarc.example.com policy", "a.b.example.com existence"}},
		{"example.com", "mail.example.com", byList, []string{"_dmarc.example.com author"}},
	} {
		e := evaluate(t, evalCase{author: c.author, options: c.o, zone: `_dmarc.example.com TXT "v=DMARC1; p=none; np=reject"`, ids: []Identifier{{SPF, c.id, StatePass, ""}}})
		var got []string
		for _, s := range e.Trace {
			got = append(got, string(s.Name)+" "+string(s.Purpose))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.author, got, c.want)
		}
	}
}
