package bimi

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/testkit/nameserver"
)

// brand is a zone with everything that a mark needs.
const brand = `
_dmarc.shop.example TXT "v=DMARC1; p=reject"
default._bimi.shop.example TXT "v=BIMI1; l=https://shop.example/logo.svg; a=https://shop.example/vmc.pem"
`

const (
	enforced = "\n_dmarc.shop.example TXT \"v=DMARC1; p=quarantine\"\n"
	record   = `"v=BIMI1; l=https://shop.example/logo.svg; a=https://shop.example/vmc.pem"` + "\n"
)

// strict are the options of a configuration that only says enabled: true.
var strict = Options{RequireCertificate: true, RequireDKIM: true}

// signed is a passing signature of a domain.
func signed(domain dns.Name, fields ...string) dkim.Signature {
	return dkim.Signature{Result: dkim.Pass, Domain: domain, SignedHeaders: append([]string{"from", "to"}, fields...)}
}

type evaluation struct {
	why       string
	zone      string
	from      string // "news@shop.example" if it is ""
	dkim      []dkim.Signature
	spf       dns.Name // the domain for which SPF passed
	selectors []string
	o         *Options // strict if it is nil
	dmarc     dmarc.Options
	want      string // result, reason, and where the record was found
}

func (c *evaluation) run(t *testing.T, r dns.Resolver) *Evaluation {
	t.Helper()
	if c.from == "" {
		c.from = "news@shop.example"
	}
	from, err := author.Parse([]string{" " + c.from})
	if err != nil {
		t.Fatal(err)
	}
	o := strict
	if c.o != nil {
		o = *c.o
	}
	var ids []dmarc.Identifier
	for _, s := range c.dkim {
		if s.Result == dkim.Pass {
			ids = append(ids, dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: s.Domain, State: dmarc.StatePass})
		}
	}
	if c.spf != "" {
		ids = append(ids, dmarc.Identifier{Mechanism: dmarc.SPF, Domain: c.spf, State: dmarc.StatePass})
	}
	d := dmarc.Discover(t.Context(), r, from.AuthorDomain, c.dmarc)
	result := d.Evaluate(t.Context(), r, ids)
	return Evaluate(t.Context(), r, &Message{From: &from, DKIM: c.dkim, DMARC: &result, Selectors: c.selectors}, d, o)
}

func (e *Evaluation) summary() string {
	words := []string{string(e.Result), e.Reason}
	if e.Result == "" {
		words = []string{"ask"}
	}
	if e.Domain != "" {
		words = append(words, e.Selector, string(e.Domain))
	}
	return strings.Join(words, " ")
}

var evaluations = []evaluation{
	{why: "a brand", zone: brand, want: "ask default shop.example"},
	{why: "p=quarantine", zone: enforced + "default._bimi.shop.example TXT " + record, want: "ask default shop.example"},

	// The author.
	{why: "several mailboxes of one domain", zone: brand, from: "a@shop.example, b@shop.example", want: "skipped from"},
	{why: "the name is another address", zone: brand, from: `"ceo@bank.example" <a@shop.example>`, want: "skipped from"},
	{why: "another address in the name", zone: brand, from: `"Bank (ceo@bank.example)" <a@shop.example>`, want: "skipped from"},
	{why: "a display name", zone: brand, from: `"The Shop" <a@shop.example>`, want: "ask default shop.example"},

	// The signature.
	{why: "no pass at all", zone: brand, dkim: []dkim.Signature{}, want: "skipped dmarc"},
	{why: "SPF alone", zone: brand, dkim: []dkim.Signature{}, spf: "shop.example", want: "skipped dkim"},
	{why: "SPF alone is enough for the operator", zone: brand, dkim: []dkim.Signature{}, spf: "shop.example",
		o: &Options{RequireCertificate: true}, want: "ask default shop.example"},
	{why: "SPF, and a signature of somebody else", zone: brand, dkim: []dkim.Signature{signed("relay.example")}, spf: "shop.example", want: "skipped dkim"},
	{why: "SPF, and a broken signature", zone: brand, dkim: []dkim.Signature{{Result: dkim.Fail, Domain: "shop.example", SignedHeaders: []string{"from"}}},
		spf: "shop.example", want: "skipped dkim"},
	{why: "a signature of a sub-domain", zone: brand, dkim: []dkim.Signature{signed("mail.shop.example")}, want: "ask default shop.example"},
	{why: "text after l=", zone: brand, dkim: []dkim.Signature{{Result: dkim.Pass, Domain: "shop.example", SignedHeaders: []string{"from"}, Uncovered: 1}}, want: "skipped dkim"},
	{why: "one with and one without a gap", zone: brand, want: "ask default shop.example",
		dkim: []dkim.Signature{{Result: dkim.Pass, Domain: "shop.example", SignedHeaders: []string{"from"}, Uncovered: 1}, signed("shop.example")}},
	{why: "one with a gap, and a broken one without", zone: brand, want: "skipped dkim",
		dkim: []dkim.Signature{{Result: dkim.Pass, Domain: "shop.example", SignedHeaders: []string{"from"}, Uncovered: 1}, {Result: dkim.Fail, Domain: "shop.example", SignedHeaders: []string{"from"}}}},
	{why: "a key with t=y", zone: brand, dkim: []dkim.Signature{{Result: dkim.Pass, Domain: "shop.example", SignedHeaders: []string{"from"}, Testing: true}}, want: "skipped dkim"},
	{why: "From is not signed", zone: brand, dkim: []dkim.Signature{{Result: dkim.Pass, Domain: "shop.example", SignedHeaders: []string{"to"}}}, want: "skipped dkim"},

	// The policy of the author.
	{why: "p=none", zone: `_dmarc.shop.example TXT "v=DMARC1; p=none"`, want: "skipped dmarc_policy"},
	{why: "no policy, but rua", zone: `_dmarc.shop.example TXT "v=DMARC1; rua=mailto:a@shop.example"`, want: "skipped dmarc_policy"},
	{why: "no record", zone: `default._bimi.shop.example TXT ` + record, want: "skipped dmarc"},
	{why: "sp=none of the author's own record", zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; sp=none"`, want: "skipped dmarc_policy"},
	{why: "t=y", zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; t=y"`, want: "skipped dmarc_policy"},
	{why: "p=quarantine; pct=99", zone: `_dmarc.shop.example TXT "v=DMARC1; p=quarantine; pct=99"`, want: "skipped dmarc_policy"},
	{why: "p=quarantine; pct=0", zone: `_dmarc.shop.example TXT "v=DMARC1; p=quarantine; pct=0"`, want: "skipped dmarc_policy"},
	{why: "p=quarantine; two pct", zone: `_dmarc.shop.example TXT "v=DMARC1; p=quarantine; pct=100; pct=1"`, want: "skipped dmarc_policy"},
	{why: "p=quarantine; empty pct", zone: `_dmarc.shop.example TXT "v=DMARC1; p=quarantine; pct="`, want: "skipped dmarc_policy"},
	{why: "p=quarantine; pct=100", zone: `_dmarc.shop.example TXT "v=DMARC1; p=quarantine; pct=100"` + "\ndefault._bimi.shop.example TXT " + record, want: "ask default shop.example"},
	{why: "p=reject; pct=1", zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; pct=1"` + "\ndefault._bimi.shop.example TXT " + record, want: "ask default shop.example"},

	// The policy of the Organizational Domain.
	{why: "a sub-domain without a record", zone: brand, from: "a@news.shop.example", dkim: []dkim.Signature{signed("shop.example")}, want: "ask default shop.example"},
	{why: "a sub-domain with a record", zone: brand + `_dmarc.news.shop.example TXT "v=DMARC1; p=reject"`, from: "a@news.shop.example",
		dkim: []dkim.Signature{signed("news.shop.example")}, want: "ask default shop.example"},
	{why: "p=none at the parent", zone: `_dmarc.shop.example TXT "v=DMARC1; p=none"` + "\n" + `_dmarc.news.shop.example TXT "v=DMARC1; p=reject"` +
		"\ndefault._bimi.news.shop.example TXT " + record, from: "a@news.shop.example", dkim: []dkim.Signature{signed("news.shop.example")}, want: "skipped organization"},
	{why: "sp=none at the parent", zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; sp=none"` + "\n" + `_dmarc.news.shop.example TXT "v=DMARC1; p=reject"` +
		"\ndefault._bimi.news.shop.example TXT " + record, from: "a@news.shop.example", dkim: []dkim.Signature{signed("news.shop.example")}, want: "skipped organization"},
	{why: "sp=none of the parent's record applies", zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; sp=none"` + "\nnews.shop.example A 192.0.2.1",
		from: "a@news.shop.example", dkim: []dkim.Signature{signed("shop.example")}, want: "skipped dmarc_policy"},
	{why: "np=none, and the author does not exist", zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; np=none"`,
		from: "a@news.shop.example", dkim: []dkim.Signature{signed("shop.example")}, want: "skipped dmarc_policy"},
	{why: "np=none, and the author exists", zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; np=none"` + "\nnews.shop.example A 192.0.2.1\n" +
		"default._bimi.news.shop.example TXT " + record,
		from: "a@news.shop.example", dkim: []dkim.Signature{signed("shop.example")}, want: "ask default news.shop.example"},
	{why: "t=y at the parent", zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; t=y"` + "\n" + `_dmarc.news.shop.example TXT "v=DMARC1; p=reject"`,
		from: "a@news.shop.example", dkim: []dkim.Signature{signed("news.shop.example")}, want: "skipped organization"},
	{why: "pct at the parent", zone: `_dmarc.shop.example TXT "v=DMARC1; p=quarantine; pct=50"` + "\n" + `_dmarc.news.shop.example TXT "v=DMARC1; p=reject"`,
		from: "a@news.shop.example", dkim: []dkim.Signature{signed("news.shop.example")}, want: "skipped organization"},
	{why: "the policy of a registry", zone: `_dmarc.example TXT "v=DMARC1; p=reject; psd=y"` + "\ndefault._bimi.shop.example TXT " + record, want: "skipped registry"},
	{why: "below a registry, the organization without a record", zone: `_dmarc.example TXT "v=DMARC1; p=reject; psd=y"` + "\n" +
		`_dmarc.news.shop.example TXT "v=DMARC1; p=reject"` + "\ndefault._bimi.news.shop.example TXT " + record,
		from: "a@news.shop.example", dkim: []dkim.Signature{signed("news.shop.example")}, want: "skipped organization"},
	{why: "below a registry, with a record", zone: `_dmarc.example TXT "v=DMARC1; p=none; psd=y"` + brand, want: "ask default shop.example"},

	// The selector.
	{why: "a signed selector", zone: brand + "x._bimi.shop.example TXT " + record, selectors: []string{" v=BIMI1; s=x"},
		dkim: []dkim.Signature{signed("shop.example", "BIMI-Selector")}, want: "ask x shop.example"},
	{why: "an unsigned selector", zone: brand + "x._bimi.shop.example TXT " + record, selectors: []string{" v=BIMI1; s=x"}, want: "ask default shop.example"},
	{why: "a selector that somebody else signed", zone: brand + "x._bimi.shop.example TXT " + record, selectors: []string{" v=BIMI1; s=x"},
		dkim: []dkim.Signature{signed("shop.example"), signed("relay.example", "BIMI-Selector")}, want: "ask default shop.example"},
	{why: "a selector, signed with a gap", zone: brand + "x._bimi.shop.example TXT " + record, selectors: []string{" v=BIMI1; s=x"},
		dkim: []dkim.Signature{signed("shop.example"), {Result: dkim.Pass, Domain: "shop.example", Uncovered: 5, SignedHeaders: []string{"from", "bimi-selector"}}},
		want: "ask default shop.example"},
	{why: "SPF alone, and an unsigned selector", zone: brand + "x._bimi.shop.example TXT " + record, selectors: []string{" v=BIMI1; s=x"}, dkim: []dkim.Signature{},
		spf: "shop.example", o: &Options{}, want: "ask default shop.example"},
	{why: "several selectors", zone: brand, selectors: []string{" v=BIMI1; s=x", " v=BIMI1; s=x"},
		dkim: []dkim.Signature{signed("shop.example", "bimi-selector", "bimi-selector")}, want: "fail several_selectors"},
	{why: "a selector that is not a name", zone: brand, selectors: []string{" v=BIMI1; s=x/../y"},
		dkim: []dkim.Signature{signed("shop.example", "bimi-selector")}, want: "ask default shop.example"},
	{why: "a selector without a record", zone: brand, selectors: []string{" v=BIMI1; s=x"},
		dkim: []dkim.Signature{signed("shop.example", "bimi-selector")}, want: "none no_record"},
	{why: "a selector of the organization", zone: brand + "x._bimi.shop.example TXT " + record, from: "a@news.shop.example", selectors: []string{" v=BIMI1; s=x"},
		dkim: []dkim.Signature{signed("shop.example", "bimi-selector")}, want: "ask x shop.example"},
	{why: "a selector of which only the default exists", zone: brand, from: "a@news.shop.example", selectors: []string{" v=BIMI1; s=x"},
		dkim: []dkim.Signature{signed("shop.example", "bimi-selector")}, want: "none no_record"},
	{why: "a selector that makes the name too long", zone: brand, selectors: []string{" v=BIMI1; s=" + strings.Repeat("x.", 123) + "x"},
		dkim: []dkim.Signature{signed("shop.example", "bimi-selector")}, want: "none no_record"},

	// The record.
	{why: "no BIMI record", zone: enforced, want: "none no_record"},
	{why: "another TXT record", zone: brand + `default._bimi.shop.example TXT "v=spf1 -all"`, want: "ask default shop.example"},
	{why: "two records", zone: brand + `default._bimi.shop.example TXT "v=BIMI1; l="`, want: "fail several_records"},
	{why: "a bad record", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=http://shop.example/x"`, want: "fail record"},
	{why: "a bad record does not lead to the parent", zone: brand + `default._bimi.news.shop.example TXT "v=BIMI1; a=x"`, from: "a@news.shop.example",
		dkim: []dkim.Signature{signed("shop.example")}, want: "fail record"},
	{why: "declined", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=; a=;"`, want: "declined declined default shop.example"},
	{why: "declined at the sub-domain", zone: brand + `default._bimi.news.shop.example TXT "v=BIMI1; l=; a=;"`, from: "a@news.shop.example",
		dkim: []dkim.Signature{signed("shop.example")}, want: "declined declined default news.shop.example"},
	{why: "no certificate", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=https://shop.example/x"`, want: "none no_certificate default shop.example"},
	{why: "no certificate is asked for", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=https://shop.example/x"`, o: &Options{RequireDKIM: true},
		want: "ask default shop.example"},

	// Local parts.
	{why: "the local part's record", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=https://shop.example/x; lps=news"` + "\nnews-jp._bimi.shop.example TXT " + record,
		from: "News.JP+42@shop.example", want: "ask news-jp shop.example"},
	{why: "the local part has none", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=; a=https://shop.example/y; lps="`,
		from: "news@shop.example", want: "ask default shop.example"},
	{why: "the local part is not listed", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=; a=https://shop.example/y; lps=shop"` + "\nnews._bimi.shop.example TXT " + record,
		from: "news@shop.example", want: "ask default shop.example"},
	{why: "the local part's record is bad", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=; a=https://shop.example/y; lps="` + "\n" +
		`news._bimi.shop.example TXT "v=BIMI1"`, from: "news@shop.example", want: "fail record"},
	{why: "the local part's record at the organization", zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=; a=https://shop.example/y; lps="` +
		"\nceo._bimi.shop.example TXT " + record, from: "ceo@news.shop.example", dkim: []dkim.Signature{signed("shop.example")}, want: "ask ceo shop.example"},
}

func TestEvaluate(t *testing.T) {
	for _, c := range evaluations {
		t.Run(c.why, func(t *testing.T) {
			if c.dkim == nil {
				c.dkim = []dkim.Signature{signed("shop.example")}
			}
			e := c.run(t, nameserver.Zone(t, c.zone))
			if got := e.summary(); got != c.want {
				t.Errorf("got %s, want %s; checks %+v", got, c.want, e.Checks)
			}
			// The checks tell the whole story: all are good but the last one.
			for i, check := range e.Checks {
				decided := i == len(e.Checks)-1 && e.Result != ""
				if check.OK == decided || check.Word == "" || decided && check.Detail == "" {
					t.Errorf("check %d of %d: %+v", i+1, len(e.Checks), check)
				}
			}
			if e.Reason != "" && !slices.Contains(Reasons(), e.Reason) {
				t.Errorf("reason %q is not in the list", e.Reason)
			}
		})
	}
}

// TestLookupsFail checks every lookup that can fail, and that at most eight are made.
func TestLookupsFail(t *testing.T) {
	c := evaluation{from: "news@a.b.shop.example", dkim: []dkim.Signature{signed("a.b.shop.example")}, zone: `
_dmarc.a.b.shop.example TXT "v=DMARC1; p=reject"
_dmarc.shop.example TXT "v=DMARC1; p=reject"
default._bimi.shop.example TXT "v=BIMI1; l=; a=https://shop.example/y; lps="
`}
	z := nameserver.Zone(t, c.zone)
	if got := c.run(t, z).summary(); got != "ask default shop.example" {
		t.Fatal(got)
	}
	asked := z.Queries()
	if n := len(asked) - 1; n > 8 || n < 6 { // the first is DMARC's
		t.Errorf("asked %q", asked)
	}
	for _, question := range asked[1:] {
		name, _, _ := strings.Cut(question, " ")
		e := c.run(t, failing{nameserver.Zone(t, c.zone), dns.Name(name)})
		if e.Result != TempError || e.Reason != ReasonDNS || e.Mark != nil {
			t.Errorf("without %s: %s", name, e.summary())
		}
	}
}

// failing is a Resolver that cannot look up one name.
type failing struct {
	dns.Resolver
	name dns.Name
}

func (f failing) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name == f.name {
		return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ}
	}
	return f.Resolver.Lookup(ctx, name, typ)
}

// TestNoQuestionWithoutNeed checks that a message which can have no mark causes no lookup.
func TestNoQuestionWithoutNeed(t *testing.T) {
	for _, c := range evaluations {
		if c.dkim == nil {
			c.dkim = []dkim.Signature{signed("shop.example")}
		}
		if !slices.Contains([]string{"skipped dmarc", "skipped from", "skipped dkim", "skipped dmarc_policy", "skipped registry"}, c.want) {
			continue
		}
		z := nameserver.Zone(t, c.zone)
		c.run(t, z)
		for _, q := range z.Queries() {
			if strings.Contains(q, "_bimi") {
				t.Errorf("%s: asked %s", c.why, q)
			}
		}
	}
}

func TestAnswered(t *testing.T) {
	certified := &Mark{SVG: []byte("<svg/>"), Certified: true, Type: string(RegisteredMark), Owner: "Shop KK", Same: true}
	bare := &Mark{SVG: []byte("<svg/>"), Same: true}
	for _, c := range []struct {
		why  string
		a    Answer
		o    Options
		want string
		mark bool
	}{
		{"a certified mark", Answer{Result: Pass, Authority: AuthorityPass, Mark: certified}, strict, "pass ", true},
		{"not fetched", Answer{Result: Skipped, Reason: ReasonNotFetched, Authority: AuthorityNone}, strict, "skipped not_fetched", false},
		{"a bad certificate", Answer{Result: Fail, Reason: "san", Authority: AuthorityFail}, strict, "fail san", false},
		{"a bare picture", Answer{Result: Pass, Authority: AuthorityNone, Mark: bare}, Options{}, "pass ", true},
		{"a bare picture where a certificate is asked for", Answer{Result: Pass, Authority: AuthorityNone, Mark: bare}, strict, "none no_certificate", false},
		{"a bare picture that claims authority", Answer{Result: Pass, Authority: AuthorityPass, Mark: bare}, strict, "none no_certificate", false},
		{"a certified mark without authority", Answer{Result: Pass, Authority: AuthorityFail, Mark: certified}, strict, "none no_certificate", false},
		{"a pass without a mark", Answer{Result: Pass, Authority: AuthorityPass}, strict, "temperror internal", false},
		{"a fail without a reason", Answer{Result: Fail, Mark: certified}, strict, "fail internal", false},
	} {
		e := &Evaluation{}
		if _, ok := e.Query(); !ok {
			t.Fatal("a new Evaluation has no question")
		}
		e.Answered(c.a, c.o)
		if got := string(e.Result) + " " + e.Reason; got != c.want || (e.Mark != nil) != c.mark || (e.Hash != "") != c.mark {
			t.Errorf("%s: %s, mark %v, hash %q; want %s", c.why, got, e.Mark, e.Hash, c.want)
		}
		if held := e.Withheld(); held.Mark != nil || held.Hash != "" || held.Result != Skipped || held.Reason != ReasonVerdict || len(e.Checks) == len(held.Checks) {
			t.Errorf("%s: withheld as %+v", c.why, held)
		}
	}
}

// TestOrganizationFails checks that an Organizational Domain that is not known leaves no mark.
func TestOrganizationFails(t *testing.T) {
	from, _ := author.Parse([]string{"a@shop.example"})
	d := dmarc.Evaluation{Result: dmarc.ResultPass, AuthorDomain: "shop.example", Record: &dmarc.Record{P: dmarc.PolicyReject}, Tag: "p",
		PolicyPublished: dmarc.PolicyReject, Alignments: []dmarc.Alignment{{Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: "shop.example", State: dmarc.StatePass}, Aligned: true}}}
	e := Evaluate(t.Context(), nameserver.Zone(t, brand), &Message{From: &from, DKIM: []dkim.Signature{signed("shop.example")}, DMARC: &d}, broken{}, strict)
	if e.summary() != "temperror dns" {
		t.Error(e.summary())
	}
}

type broken struct{}

func (broken) OrganizationRecord(context.Context, dns.Resolver) (dmarc.Organization, error) {
	return dmarc.Organization{}, errors.New("broken")
}
