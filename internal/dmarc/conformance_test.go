package dmarc

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/dns/dnstest"
)

// conformance returns a path in ../shared/conformance beside the repository,
// or skips the test.
func conformance(tb testing.TB, path string) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	full := filepath.Join(dir, "..", "shared", "conformance", path)
	if _, err := os.Stat(full); err != nil {
		tb.Skipf("suites of dmarc: skipped, conformance data is not here: %v", err)
	}
	return full
}

type conformanceCase struct {
	ID         string          `json:"id"`
	Title      string          `json:"title"`
	Author     dns.Name        `json:"author_domain"`
	IP         string          `json:"ip"`
	MailFrom   string          `json:"mailfrom"`
	DKIM       []dns.Name      `json:"dkim"`
	Zone       json.RawMessage `json:"zone"`
	Queries    []dns.Name      `json:"queries_author"`
	MaxQueries int             `json:"max_queries_per_walk"`
	Expect     struct {
		DMARC           []Result   `json:"dmarc"`
		Org             *dns.Name  `json:"org_domain"`
		PolicyDomain    *dns.Name  `json:"policy_domain"`
		Tag             *string    `json:"tag"`
		Policy          *Policy    `json:"policy"`
		Disposition     *Policy    `json:"disposition_if_fail"`
		MustDisposition *Policy    `json:"disposition_must_be"`
		SPF             *bool      `json:"spf_aligned"`
		DKIM            []dns.Name `json:"dkim_aligned"`
	} `json:"expect"`
}

// identifiers stands in for SPF and DKIM: the suite's SPF records pass by ip4
// only, and all its signatures are good.
func (c conformanceCase) identifiers(t *testing.T, zone *dnstest.Zone) []Identifier {
	var ids []Identifier
	_, domain, _ := strings.Cut(c.MailFrom, "@")
	answer, err := zone.Lookup(t.Context(), dns.Name(domain), dns.TypeTXT)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range answer.Records {
		if strings.HasPrefix(rr.Text, "v=spf1 ") && strings.Contains(rr.Text, "ip4:"+c.IP+" ") {
			ids = append(ids, Identifier{Mechanism: SPF, Domain: dns.Name(domain), State: StatePass})
		}
	}
	for _, d := range c.DKIM {
		ids = append(ids, Identifier{Mechanism: DKIM, Domain: d, State: StatePass})
	}
	return ids
}

func TestConformanceDMARCbis(t *testing.T) {
	data, err := os.ReadFile(conformance(t, "dmarc/dmarcbis.json"))
	if err != nil {
		t.Fatal(err)
	}
	var suite struct{ Cases []conformanceCase }
	if err := json.Unmarshal(data, &suite); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, c := range suite.Cases {
		if t.Run(c.ID, func(t *testing.T) { runConformance(t, c) }) {
			passed++
		}
	}
	t.Logf("suite dmarc/dmarcbis in process: passed %d / total %d", passed, len(suite.Cases))
	if len(suite.Cases) != 72 {
		t.Errorf("%d cases, want 72", len(suite.Cases))
	}
}

func runConformance(t *testing.T, c conformanceCase) {
	zone, err := dnstest.FromConformance(c.Zone)
	if err != nil {
		t.Fatal(err)
	}
	ids := c.identifiers(t, zone)
	zone.ResetQueries()
	d := Discover(t.Context(), zone, c.Author, Options{})
	asked := zone.Queries()
	if c.Queries != nil {
		var want []string
		for _, q := range c.Queries {
			want = append(want, string(q)+" TXT")
		}
		if !slices.Equal(asked, want) {
			t.Errorf("asked %q\n want %q", asked, want)
		}
	}
	if c.MaxQueries > 0 && len(asked) > c.MaxQueries {
		t.Errorf("%d queries", len(asked))
	}
	e := d.Evaluate(t.Context(), zone, ids)
	checkAhead(t, zone, c.Author, ids, Options{}, e, asked)
	if !slices.Contains(c.Expect.DMARC, e.Result) {
		t.Errorf("%s: result %s (%s), want %v", c.Title, e.Result, e.Reason, c.Expect.DMARC)
	}
	org, _ := d.Organization(t.Context(), zone)
	expect(t, "org_domain", org, c.Expect.Org)
	expect(t, "policy_domain", e.PolicyDomain, c.Expect.PolicyDomain)
	expect(t, "tag", e.Tag, c.Expect.Tag)
	expect(t, "policy", e.PolicyPublished, c.Expect.Policy)
	expect(t, "disposition_if_fail", e.Disposition, c.Expect.Disposition)
	if want := c.Expect.MustDisposition; want != nil && e.Disposition != "" {
		expect(t, "disposition_must_be", e.Disposition, want)
	}
	expect(t, "spf_aligned", e.AlignedSPF, c.Expect.SPF)
	if c.Expect.DKIM != nil {
		aligned := []dns.Name{}
		for _, a := range e.Alignments {
			if a.Mechanism == DKIM && a.Aligned {
				aligned = append(aligned, a.Domain)
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
	f, err := os.Open(conformance(t, "psl/public_suffix_list.dat"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := LoadPSL(f)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.Open(conformance(t, "psl/test_psl.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer tests.Close()
	passed, total := 0, 0
	for sc := bufio.NewScanner(tests); sc.Scan(); {
		m := checkPSL.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		total++
		// The suite's null stands for "no domain"; a name with a leading dot
		// is none either.
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
	t.Logf("suite dmarc/psl in process: passed %d / total %d", passed, total)
	// The file has 82 lines of checks; its authors commented out the four of
	// "local", which the algorithm's default rule contradicts.
	if total != 78 {
		t.Errorf("%d checks, want 78", total)
	}
}
