package dmarc

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/suites"
)

// identifiers returns the identifiers that SPF and DKIM would find for a case.
// It can be simple, because the suite's SPF records use ip4 only, and all its
// signatures are valid.
func identifiers(t *testing.T, c suites.DMARCCase, z *zone.Zone) []Identifier {
	var ids []Identifier
	_, domain, _ := strings.Cut(c.MailFrom, "@")
	answer, err := z.Lookup(t.Context(), dns.Name(domain), dns.TypeTXT)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range answer.Records {
		if strings.HasPrefix(rr.Text, "v=spf1 ") && strings.Contains(rr.Text, "ip4:"+c.IP+" ") {
			ids = append(ids, Identifier{Mechanism: SPF, Domain: dns.Name(domain), State: StatePass})
		}
	}
	for _, d := range c.DKIM {
		ids = append(ids, Identifier{Mechanism: DKIM, Domain: dns.Name(d), State: StatePass})
	}
	return ids
}

func TestConformanceDMARCbis(t *testing.T) {
	cases := suites.DMARC(t)
	passed := 0
	for _, c := range cases {
		if t.Run(c.ID, func(t *testing.T) { runConformance(t, c) }) {
			passed++
		}
	}
	suites.Log(t, "dmarc/dmarcbis in process", passed, len(cases), "")
	if len(cases) != 72 {
		t.Errorf("%d cases, want 72", len(cases))
	}
}

func runConformance(t *testing.T, c suites.DMARCCase) {
	z, err := suites.Zone(c.Zone)
	if err != nil {
		t.Fatal(err)
	}
	ids, author := identifiers(t, c, z), dns.Name(c.Author)
	z.ResetQueries()
	d := Discover(t.Context(), z, author, Options{})
	asked := z.Queries()
	if c.Queries != nil {
		var want []string
		for _, q := range c.Queries {
			want = append(want, q+" TXT")
		}
		if !slices.Equal(asked, want) {
			t.Errorf("asked %q\n want %q", asked, want)
		}
	}
	if c.MaxQueries > 0 && len(asked) > c.MaxQueries {
		t.Errorf("%d queries", len(asked))
	}
	e := d.Evaluate(t.Context(), z, ids)
	checkAhead(t, z, author, ids, Options{}, e, asked)
	if !slices.Contains(c.Expect.DMARC, string(e.Result)) {
		t.Errorf("%s: result %s (%s), want %v", c.Title, e.Result, e.Reason, c.Expect.DMARC)
	}
	org, _ := d.Organization(t.Context(), z)
	expect(t, "org_domain", string(org), c.Expect.Org)
	expect(t, "policy_domain", string(e.PolicyDomain), c.Expect.PolicyDomain)
	expect(t, "tag", e.Tag, c.Expect.Tag)
	expect(t, "policy", string(e.PolicyPublished), c.Expect.Policy)
	expect(t, "disposition_if_fail", string(e.Disposition), c.Expect.Disposition)
	if want := c.Expect.MustDisposition; want != nil && e.Disposition != "" {
		expect(t, "disposition_must_be", string(e.Disposition), want)
	}
	expect(t, "spf_aligned", e.AlignedSPF, c.Expect.SPF)
	if c.Expect.DKIM != nil {
		aligned := []string{}
		for _, a := range e.Alignments {
			if a.Mechanism == DKIM && a.Aligned {
				aligned = append(aligned, string(a.Domain))
			}
		}
		if !slices.Equal(aligned, c.Expect.DKIM) {
			t.Errorf("dkim_aligned %q, want %q", aligned, c.Expect.DKIM)
		}
	}
}

func expect[T comparable](t *testing.T, what string, got T, want *T) {
	t.Helper()
	if want != nil && got != *want {
		t.Errorf("%s = %v, want %v", what, got, *want)
	}
}

var checkPSL = regexp.MustCompile(`^checkPublicSuffix\((null|'([^']*)'), (null|'([^']*)')\);`)

func TestConformancePSL(t *testing.T) {
	list, err := LoadPSL(bytes.NewReader(suites.Read(t, "psl/public_suffix_list.dat")))
	if err != nil {
		t.Fatal(err)
	}
	passed, total := 0, 0
	for line := range strings.Lines(string(suites.Read(t, "psl/test_psl.txt"))) {
		m := checkPSL.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		total++
		// In the suite, null stands for "no domain". A name with a leading dot is not
		// a domain either.
		var got dns.Name
		if name, err := dns.ParseName(m[2]); err == nil {
			got = list.OrganizationalDomain(name)
		}
		want, err := dns.ParseName(m[4])
		if err != nil || got != want {
			t.Errorf("%s: got %q", m[0], got)
			continue
		}
		passed++
	}
	suites.Log(t, "dmarc/psl in process", passed, total, "")
	// The file has 82 lines of checks. Its authors commented out the four lines for
	// "local", because they contradict the default rule of the algorithm.
	if total != 78 {
		t.Errorf("%d checks, want 78", total)
	}
}
