package bimi

import (
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// TestEnforcing checks what is said of each record whose policy is not enforced.
func TestEnforcing(t *testing.T) {
	for text, want := range map[string]string{
		"":         "is missing",
		"v=DMARC1": "has no valid policy",
		"v=DMARC1; p=maybe; rua=mailto:a@shop.example": "has no valid policy",
		"v=DMARC1; p=reject; sp=maybe":                 "has no valid policy",
		"v=DMARC1; p=reject; np=maybe":                 "has no valid policy",
		"v=DMARC1; p=none":                             "has p=none; it must be quarantine or reject",
		"v=DMARC1; p=reject":                           "",
		"v=DMARC1; p=quarantine":                       "",
		"v=DMARC1; p=reject; sp=none":                  "has sp=none; it must be quarantine or reject, or absent",
		"v=DMARC1; p=reject; sp=quarantine; np=none":   "",
		"v=DMARC1; p=reject; t=y":                      "has t=y, so its policy is only tested",
		"v=DMARC1; p=reject; t=n":                      "",
		"v=DMARC1; p=reject; pct=0":                    "",
		"v=DMARC1; p=quarantine; pct=100":              "",
		"v=DMARC1; p=quarantine; pct=99":               "has p=quarantine with a pct below 100",
	} {
		var r *dmarc.Record
		if text != "" {
			var err error
			if r, err = dmarc.ParseRecord(text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
		if got := enforcing(r); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestAuthorSignatures checks which signatures prove the author, and what is said if none does: the last thing
// that was wrong with a signature of the author's.
func TestAuthorSignatures(t *testing.T) {
	const none = "no DKIM signature of the author's domain passes"
	aligned := dmarc.Alignment{Identifier: dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: "shop.example", State: dmarc.StatePass}, Aligned: true}
	good := dkim.Signature{Result: dkim.Pass, Domain: "shop.example", SignedHeaders: []string{"to", " FROM\t"}}
	for _, tt := range []struct {
		why    string
		change func(*dkim.Signature, *dmarc.Alignment)
		want   string // "" if the signature proves the author
	}{
		{"good", func(*dkim.Signature, *dmarc.Alignment) {}, ""},
		{"it fails", func(s *dkim.Signature, _ *dmarc.Alignment) { s.Result = dkim.Fail }, none},
		{"not decided", func(s *dkim.Signature, _ *dmarc.Alignment) { s.Result = dkim.TempError }, none},
		{"not aligned", func(_ *dkim.Signature, a *dmarc.Alignment) { a.Aligned = false }, none},
		{"aligned by SPF", func(_ *dkim.Signature, a *dmarc.Alignment) { a.Mechanism = dmarc.SPF }, none},
		{"aligned, and not decided", func(_ *dkim.Signature, a *dmarc.Alignment) { a.State = dmarc.StateTempError }, none},
		{"another domain is aligned", func(_ *dkim.Signature, a *dmarc.Alignment) { a.Domain = "mail.shop.example" }, none},
		{"a key with t=y", func(s *dkim.Signature, _ *dmarc.Alignment) { s.Testing = true }, "the key of the author's signature has t=y, so it is only tested"},
		{"one octet open", func(s *dkim.Signature, _ *dmarc.Alignment) { s.Uncovered = 1 }, "the author's signature has l= and does not cover the whole body"},
		{"From is open", func(s *dkim.Signature, _ *dmarc.Alignment) { s.SignedHeaders = []string{"to", "from x"} }, "the author's signature does not cover From"},
		{"nothing is signed", func(s *dkim.Signature, _ *dmarc.Alignment) { s.SignedHeaders = nil }, "the author's signature does not cover From"},
	} {
		s, a := good, aligned
		tt.change(&s, &a)
		other := dkim.Signature{Result: dkim.Pass, Domain: "relay.example", SignedHeaders: []string{"from"}}
		m := &Message{DKIM: []dkim.Signature{s, other}, DMARC: &dmarc.Evaluation{Alignments: []dmarc.Alignment{a}}}
		found, why := authorSignatures(m)
		if tt.want == "" && (len(found) != 1 || found[0] != &m.DKIM[0]) || tt.want != "" && (len(found) != 0 || why != tt.want) {
			t.Errorf("%s: %d found, %q, want %q", tt.why, len(found), why, tt.want)
		}
	}
}

// TestWhatChecksSay checks the last sentence about messages that have no mark, and about those whose record was found.
func TestWhatChecksSay(t *testing.T) {
	mail := []dkim.Signature{signed("shop.example")}
	selector := []dkim.Signature{signed("shop.example", "bimi-selector")}
	below := `_dmarc.news.shop.example TXT "v=DMARC1; p=reject"` + "\n"
	for _, tt := range []struct {
		why  string
		c    evaluation
		want []string // "word: detail" of the last checks
	}{
		{"a record", evaluation{zone: brand, dkim: mail}, []string{"dmarc: ", "from: ", "dkim: signed by shop.example", "policy: p=reject at shop.example",
			"organization: shop.example", "record: default._bimi.shop.example"}},
		{"SPF alone", evaluation{zone: brand, dkim: []dkim.Signature{}, spf: "shop.example", o: &Options{}}, []string{"dkim: not needed (bimi.require_dkim: false)",
			"policy: p=reject at shop.example", "organization: shop.example", "record: default._bimi.shop.example"}},
		{"no pass", evaluation{zone: brand, dkim: []dkim.Signature{}}, []string{"dmarc: DMARC is fail; only a message that passes can have a mark"}},
		{"two authors", evaluation{zone: brand, dkim: mail, from: "a@shop.example, b@shop.example"}, []string{"from: From names several mailboxes; a mark needs exactly one"}},
		{"another name", evaluation{zone: brand, dkim: mail, from: `"ceo@bank.example" <a@shop.example>`},
			[]string{"from: the display name in From shows an address of another domain"}},
		{"a registry", evaluation{zone: `_dmarc.example TXT "v=DMARC1; p=reject; psd=y"`, dkim: mail},
			[]string{"policy: the DMARC policy is that of the registry example; publish one for the author's domain"}},
		{"p=none", evaluation{zone: `_dmarc.shop.example TXT "v=DMARC1; p=none"`, dkim: mail},
			[]string{"policy: the DMARC record of shop.example has p=none; it must be quarantine or reject"}},
		{"np=none", evaluation{zone: `_dmarc.shop.example TXT "v=DMARC1; p=reject; np=none"`, dkim: mail, from: "a@news.shop.example"},
			[]string{"policy: the DMARC policy that applies to news.shop.example is not quarantine or reject"}},
		{"p=none of the organization", evaluation{zone: `_dmarc.shop.example TXT "v=DMARC1; p=none"` + "\n" + below, dkim: []dkim.Signature{signed("news.shop.example")},
			from: "a@news.shop.example"}, []string{"organization: the DMARC record of shop.example has p=none; it must be quarantine or reject"}},
		{"no record", evaluation{zone: enforced + "news.shop.example A 192.0.2.1\n", dkim: mail, from: "a@news.shop.example"},
			[]string{"organization: shop.example", "record: there is no record at default._bimi.news.shop.example"}},
		{"a selector", evaluation{zone: brand + "x._bimi.shop.example TXT " + record, dkim: selector, selectors: []string{" v=BIMI1; s=X"}},
			[]string{"selector: x", "record: x._bimi.shop.example"}},
		{"an unsigned selector", evaluation{zone: brand, dkim: mail, selectors: []string{" v=BIMI1; s=x"}},
			[]string{"selector: BIMI-Selector is ignored: no signature of the author's covers it", "record: default._bimi.shop.example"}},
		{"a bad selector", evaluation{zone: brand, dkim: selector, selectors: []string{" v=BIMI1; s=-"}},
			[]string{"selector: BIMI-Selector is ignored: it is not valid", "record: default._bimi.shop.example"}},
		{"two selectors", evaluation{zone: brand, dkim: selector, selectors: []string{" v=BIMI1; s=x", " v=BIMI1; s=x"}},
			[]string{"selector: there are several BIMI-Selector fields"}},
		{"two records", evaluation{zone: brand + `default._bimi.shop.example TXT "v=BIMI1; l="`, dkim: mail},
			[]string{"record: there are several records at default._bimi.shop.example"}},
		{"declined", evaluation{zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=; a="`, dkim: mail},
			[]string{"record: the record at default._bimi.shop.example says that the domain takes no part"}},
		{"no certificate", evaluation{zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=https://shop.example/x"`, dkim: mail},
			[]string{"record: default._bimi.shop.example", "certificate: the record names no mark certificate (a=)"}},
		{"no answer", evaluation{zone: enforced + "! default._bimi.shop.example TXT servfail", dkim: mail},
			[]string{"record: the record at default._bimi.shop.example cannot be looked up"}},
		{"no answer for the local part", evaluation{zone: enforced + `default._bimi.shop.example TXT "v=BIMI1; l=; a=https://shop.example/y; lps="` + "\n! news._bimi.shop.example TXT servfail",
			dkim: mail}, []string{"record: the record at news._bimi.shop.example cannot be looked up"}},
	} {
		e := tt.c.run(t, nameserver.Zone(t, tt.c.zone))
		var got []string
		for _, check := range e.Checks {
			got = append(got, check.Word+": "+check.Detail)
		}
		if tail := got[max(0, len(got)-len(tt.want)):]; !slices.Equal(tail, tt.want) {
			t.Errorf("%s: checks\n%s\nwant\n%s", tt.why, strings.Join(tail, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// TestWhereTheRecordIs checks what is kept of the record and of the way to it.
func TestWhereTheRecordIs(t *testing.T) {
	mail := []dkim.Signature{signed("shop.example")}
	const list = `default._bimi.shop.example TXT "v=BIMI1; l=https://shop.example/x; a=https://shop.example/y; avp=brand; lps="` + "\n"
	for _, tt := range []struct {
		why  string
		c    evaluation
		want Evaluation
	}{
		{"the local part has a record", evaluation{zone: enforced + list + `news._bimi.shop.example TXT "v=BIMI1; l=; a=https://shop.example/z"`, dkim: mail},
			Evaluation{Selector: "news", LocalPart: "news", Evidence: "https://shop.example/z"}},
		{"the local part has none", evaluation{zone: enforced + list, dkim: mail},
			Evaluation{Selector: "default", LocalPart: "news", Location: "https://shop.example/x", Evidence: "https://shop.example/y", Preference: PreferBrand}},
		{"the local part is the selector", evaluation{zone: enforced + list, from: "default@shop.example", dkim: mail},
			Evaluation{Selector: "default", Location: "https://shop.example/x", Evidence: "https://shop.example/y", Preference: PreferBrand}},
	} {
		e := tt.c.run(t, nameserver.Zone(t, tt.c.zone))
		tt.want.Domain, tt.want.Organization = "shop.example", "shop.example"
		got := Evaluation{Domain: e.Domain, Organization: e.Organization, Selector: e.Selector, LocalPart: e.LocalPart, Location: e.Location, Evidence: e.Evidence,
			Preference: e.Preference}
		if got.Domain != tt.want.Domain || got.Organization != tt.want.Organization || got.Selector != tt.want.Selector || got.LocalPart != tt.want.LocalPart ||
			got.Location != tt.want.Location || got.Evidence != tt.want.Evidence || got.Preference != tt.want.Preference || e.Result != "" {
			t.Errorf("%s: %+v, want %+v", tt.why, got, tt.want)
		}
	}
}

// TestAuthorIsAskedOnce checks that the parent is asked only if the author is not the parent, and only if the author has no record.
func TestAuthorIsAskedOnce(t *testing.T) {
	for _, tt := range []struct{ why, zone, from, want string }{
		{"the organization itself", enforced, "a@shop.example", "default._bimi.shop.example TXT"},
		{"below it", enforced + "news.shop.example A 192.0.2.1\n", "a@news.shop.example", "default._bimi.news.shop.example TXT, default._bimi.shop.example TXT"},
		{"below it, with a record", brand + "default._bimi.news.shop.example TXT " + record, "a@news.shop.example", "default._bimi.news.shop.example TXT"},
		{"below it, and no answer", brand + "! default._bimi.news.shop.example TXT servfail\n", "a@news.shop.example", "default._bimi.news.shop.example TXT"},
	} {
		c := evaluation{zone: tt.zone, from: tt.from, dkim: []dkim.Signature{signed("shop.example")}}
		z := nameserver.Zone(t, c.zone)
		c.run(t, z)
		asked := slices.DeleteFunc(z.Queries(), func(q string) bool { return !strings.Contains(q, "_bimi") })
		if got := strings.Join(asked, ", "); got != tt.want {
			t.Errorf("%s: asked %s, want %s", tt.why, got, tt.want)
		}
	}
}

// TestFactsOfCertificate checks which facts of a mark an Evaluation has: those of the certificate only if there is one.
func TestFactsOfCertificate(t *testing.T) {
	m := &Mark{SVG: []byte("<svg/>"), Type: "Registered Mark", Owner: "Shop KK", Issuer: "CA", Serial: "1f"}
	for _, certified := range []bool{false, true} {
		mark := *m
		mark.Certified = certified
		e := &Evaluation{Domain: dns.Name("shop.example"), Reason: "old"}
		e.Answered(Answer{Result: Pass, Authority: AuthorityPass, Mark: &mark, Checks: []Check{{Word: "pem", OK: true}}}, Options{})
		if (e.MarkType == RegisteredMark) != certified || (e.Owner == "Shop KK") != certified || (e.Issuer == "CA") != certified || (e.Serial == "1f") != certified {
			t.Errorf("certified %t: %+v", certified, e)
		}
		if e.NotAfter != nil || e.Reason != "" || len(e.Checks) != 1 {
			t.Errorf("certified %t: end %v, reason %q, checks %v", certified, e.NotAfter, e.Reason, e.Checks)
		}
	}
}
