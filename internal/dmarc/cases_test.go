package dmarc

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// evalCase is one case of a file in testdata/cases.
type evalCase struct {
	why     string
	author  dns.Name
	ids     []Identifier
	options Options
	want    []string // the expected properties, as key=value
	zone    string
}

func testList(tb testing.TB) *SuffixList {
	tb.Helper()
	f, err := os.Open("testdata/list.dat")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	l, err := LoadPSL(f)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func readCases(tb testing.TB, file string) []evalCase {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var cases []evalCase
	for _, block := range strings.Split("\n"+string(data), "\n=== ")[1:] {
		head, zoneText, _ := strings.Cut(block, "\nzone:\n")
		lines := strings.Split(head, "\n")
		c := evalCase{why: lines[0], zone: zoneText}
		for _, line := range lines[1:] {
			key, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			switch key {
			case "author":
				c.author = mustName(tb, value)
			case "id":
				f := strings.Fields(value)
				c.ids = append(c.ids, Identifier{Mechanism: Mechanism(f[0]), State: State(f[1]), Domain: mustName(tb, f[2])})
			case "method":
				c.options.Method = PSL
				if value == "psl" {
					c.options.PSL = testList(tb)
				}
			case "max_walks":
				c.options.MaxWalks, _ = strconv.Atoi(value)
			case "want":
				c.want = strings.Fields(value)
			default:
				tb.Fatalf("%s: %s: unknown line %q", file, c.why, line)
			}
		}
		if len(c.want) == 0 {
			tb.Fatalf("%s: %s: nothing wanted", file, c.why)
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		tb.Fatalf("%s: no cases", file)
	}
	return cases
}

func mustName(tb testing.TB, s string) dns.Name {
	tb.Helper()
	n, err := dns.ParseName(s)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// show returns the properties of an evaluation, under the keys that case files
// use.
func show(e Evaluation, queries []string) map[string]string {
	m := map[string]string{
		"result": string(e.Result), "reason": string(e.Reason), "method": string(e.Method),
		"org": string(e.OrganizationalDomain), "policydomain": string(e.PolicyDomain), "source": string(e.Source),
		"policy": string(e.PolicyPublished), "tag": e.Tag, "disposition": string(e.Disposition),
		"testing": strconv.FormatBool(e.Testing), "alignments": strconv.Itoa(len(e.Alignments)),
		"enforcing": string(e.Enforcing), "exists": "unknown", "aligned": "neither", "error": "",
	}
	if e.AuthorExists != nil {
		m["exists"] = strconv.FormatBool(*e.AuthorExists)
	}
	switch {
	case e.AlignedSPF && e.AlignedDKIM:
		m["aligned"] = "both"
	case e.AlignedSPF:
		m["aligned"] = "spf"
	case e.AlignedDKIM:
		m["aligned"] = "dkim"
	}
	if e.DNSError != nil {
		m["error"] = e.DNSError.Kind
	}
	var names []string
	for _, q := range queries { // "name TYPE"
		names = append(names, strings.TrimSuffix(strings.Replace(q, " ", "/", 1), "/TXT"))
	}
	m["queries"] = strings.Join(names, ",")
	return m
}

func TestCases(t *testing.T) {
	files, _ := filepath.Glob("testdata/cases/*.txt")
	if len(files) == 0 {
		t.Fatal("no case files")
	}
	for _, file := range files {
		for _, c := range readCases(t, file) {
			t.Run(filepath.Base(file)+"/"+c.why, func(t *testing.T) {
				z := nameserver.Zone(t, c.zone)
				d := Discover(t.Context(), z, c.author, c.options)
				e := d.Evaluate(t.Context(), z, c.ids)
				got := show(e, z.Queries())
				for _, kv := range c.want {
					key, want, _ := strings.Cut(kv, "=")
					if have, ok := got[key]; !ok || have != want {
						t.Errorf("%s = %q, want %q", key, have, want)
					}
				}
				checkTrace(t, e, z.Queries())
				checkAhead(t, z, c.author, c.ids, c.options, e, z.Queries())
				if again := d.Evaluate(t.Context(), z, c.ids); again.Result != e.Result || len(again.Trace) != len(e.Trace) {
					t.Errorf("evaluated again: %s with %d questions, first %s with %d", again.Result, len(again.Trace), e.Result, len(e.Trace))
				}
			})
		}
	}
}

// checkTrace checks that the trace has exactly the questions that were asked.
func checkTrace(tb testing.TB, e Evaluation, queries []string) {
	tb.Helper()
	var traced []string
	for _, s := range e.Trace {
		traced = append(traced, string(s.Name)+" "+s.Type.String())
		if s.Purpose == "" || (s.Found == FoundError) != (s.Error != nil) {
			tb.Errorf("step %+v", s)
		}
	}
	if !slices.Equal(traced, queries) {
		tb.Errorf("trace %q\nasked %q", traced, queries)
	}
	slices.Sort(traced)
	if len(slices.Compact(traced)) != len(queries) {
		tb.Errorf("asked twice: %q", queries)
	}
}
