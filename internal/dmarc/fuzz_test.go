package dmarc

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
)

// FuzzParseRecord checks records that ParseRecord accepts. The text begins with
// "v" and contains "DMARC1", rua and ruf have at most MaxURIs URIs each, and the
// URIs and policies are valid.
func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{
		"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; aspf=r; fo=1:d:s; psd=y; t=y",
		"v=DMARC1; rua=mailto:a@b.example!10m,https://x/%41; ruf=mailto:,", "v = DMARC1 ;;p", "v=DMARC1;p=none;p=none",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, txt string) {
		r, err := ParseRecord(txt)
		if err != nil {
			if r != nil {
				t.Fatalf("%+v beside %v", r, err)
			}
			return
		}
		if !strings.Contains(txt, "DMARC1") || txt[0]|0x20 != 'v' {
			t.Fatalf("accepted %q", txt)
		}
		if len(r.RUA) > MaxURIs || len(r.RUF) > MaxURIs || len(r.Invalid) > len(tagParsers) || len(r.FO) == 0 || len(r.FO) > 2 {
			t.Fatalf("bounds: %+v", r)
		}
		for _, uri := range append(r.RUA, r.RUF...) {
			if !isURI(uri) || strings.ContainsAny(uri, " ,;!\r\n") {
				t.Fatalf("URI %q", uri)
			}
		}
		for _, p := range []Policy{r.P, r.SP, r.NP} {
			if p != "" && p != PolicyNone && p != PolicyQuarantine && p != PolicyReject {
				t.Fatalf("policy %q", p)
			}
		}
	})
}

// FuzzEvaluate evaluates messages with any zone, author and identifiers.
func FuzzEvaluate(f *testing.F) {
	files, _ := filepath.Glob("testdata/cases/*.txt")
	for _, file := range files {
		for _, c := range readCases(f, file) {
			spf, dkim := "", ""
			for _, id := range c.ids {
				if id.Mechanism == SPF {
					spf = string(id.Domain)
				} else {
					dkim = string(id.Domain)
				}
			}
			f.Add(c.zone, string(c.author), spf, dkim, uint8(0))
		}
	}
	list := testList(f)
	f.Fuzz(func(t *testing.T, text, author, spf, dkim string, flags uint8) {
		z, err := zone.Parse(text)
		if err != nil {
			t.Skip()
		}
		from, err1 := dns.ParseName(author)
		mailFrom, err2 := dns.ParseName(spf)
		sdid, err3 := dns.ParseName(dkim)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Skip()
		}
		o := Options{MaxWalks: 1 + int(flags>>6)}
		if flags&1 != 0 {
			o = Options{Method: PSL, PSL: list}
		}
		ids := []Identifier{{SPF, mailFrom, stateOf(flags & 2), "m"}, {DKIM, sdid, stateOf(flags & 4), "s1"}, {DKIM, "x.example.com", stateOf(flags & 8), "s2"}}
		d := Discover(t.Context(), z, from, o)
		if n := len(z.Queries()); n > maxWalkLabels {
			t.Fatalf("%d queries for the author", n)
		}
		e := d.Evaluate(t.Context(), z, ids)
		// There may be a tree walk for the author and one for each identifier. One more
		// query may ask whether the author exists.
		if n := len(z.Queries()); n > maxWalkLabels*(1+len(ids))+1 {
			t.Fatalf("%d queries", n)
		}
		checkTrace(t, e, z.Queries())
		checkInvariants(t, e)
		checkAhead(t, z, from, ids, o, e, z.Queries())
	})
}

func stateOf(flag uint8) State {
	if flag != 0 {
		return StateTempError
	}
	return StatePass
}

// heldTogether reports whether the author and a domain are both below the
// Organizational Domain or, if that is not known, below the same name with a
// record.
func heldTogether(e *Evaluation, domain dns.Name) bool {
	if org := e.OrganizationalDomain; org != "" {
		return domain.Under(org) && e.AuthorDomain.Under(org)
	}
	return slices.ContainsFunc(e.Trace, func(s Step) bool {
		at, found := strings.CutPrefix(string(s.Name), "_dmarc.")
		return found && s.Found == FoundRecord && domain.Under(dns.Name(at)) && e.AuthorDomain.Under(dns.Name(at))
	})
}

// checkInvariants checks properties of an Evaluation that package policy relies
// on.
func checkInvariants(t *testing.T, e Evaluation) {
	t.Helper()
	proof := false
	for _, a := range e.Alignments {
		proof = proof || a.Aligned && a.State == StatePass
		if a.Aligned && a.Error != nil {
			t.Fatalf("%s aligns, and it is not known whether it does: %v", a.Domain, a.Error)
		}
		if a.Aligned && a.Domain != e.AuthorDomain && (a.Mode == Strict || !heldTogether(&e, a.Domain)) {
			t.Fatalf("%s aligned with %s by %q", a.Domain, e.AuthorDomain, e.OrganizationalDomain)
		}
	}
	passes := e.Result == ResultPass || e.Reason == ReasonPolicyError && proof
	if passes != proof || (e.AlignedSPF || e.AlignedDKIM) != proof {
		t.Fatalf("%s, aligned %v", e.Result, proof)
	}
	if e.Enforcing != "" && e.Result != ResultTempError || e.Disposition != "" && e.Result == ResultTempError && e.Enforcing != e.Disposition {
		t.Fatalf("%s, enforcing %q, disposition %q", e.Result, e.Enforcing, e.Disposition)
	}
	switch e.Result {
	case ResultPass:
	case ResultFail:
		if e.PolicyPublished == "" || e.Disposition == "" || e.Tag == "" {
			t.Fatalf("fail without a policy: %+v", e)
		}
	case ResultNone:
		if e.PolicyPublished != "" || e.Disposition != "" {
			t.Fatalf("none with a policy: %+v", e)
		}
	case ResultTempError:
		if (e.DNSError == nil) != (e.Reason == ReasonIdentifierError) {
			t.Fatalf("temperror %s, DNS error %v", e.Reason, e.DNSError)
		}
	default:
		t.Fatalf("result %q", e.Result)
	}
	if e.Reason == "" || e.Record != nil && !e.AuthorDomain.Under(e.PolicyDomain) {
		t.Fatalf("reason %q, policy domain %q of %q", e.Reason, e.PolicyDomain, e.AuthorDomain)
	}
}

// FuzzLoadPSL checks that the Organizational Domain that a list gives for a name
// is the name itself or a name above it.
func FuzzLoadPSL(f *testing.F) {
	f.Add("com\n*.kobe.jp\n!city.kobe.jp\n公司.cn", "a.city.kobe.jp")
	f.Add("jp\nco.jp", "x.y.co.jp")
	f.Fuzz(func(t *testing.T, text, name string) {
		l, err := LoadPSL(strings.NewReader(text))
		n, err2 := dns.ParseName(name)
		if err != nil || err2 != nil {
			t.Skip()
		}
		org := l.OrganizationalDomain(n)
		if org != "" && !n.Under(org) {
			t.Fatalf("%q is not within %q", n, org)
		}
		if org != "" && org.Labels() > 1 && l.OrganizationalDomain(org) != org {
			t.Fatalf("%q has organization %q, which has %q", n, org, l.OrganizationalDomain(org))
		}
	})
}
