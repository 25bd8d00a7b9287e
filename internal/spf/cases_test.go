package spf

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/internal/testkit/nameserver"
)

// caseFile is a file in testdata/cases. The file has the reason for the case, an
// empty line, lines with "key: value", and after "--- zone" the text of a zone.
// Values may have the escapes of a Go string. A property of the check is compared
// only if the file has its key.
type caseFile struct {
	name   string
	values map[string]string
	zone   string
}

func readCases(tb testing.TB) []caseFile {
	tb.Helper()
	files, err := filepath.Glob("testdata/cases/*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no cases: %v", err)
	}
	var cases []caseFile
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		reason, rest, _ := strings.Cut(string(raw), "\n\n")
		head, zoneText, found := strings.Cut(rest, "--- zone\n")
		if !found || reason == "" {
			tb.Fatalf("%s: no reason or no zone", file)
		}
		c := caseFile{name: strings.TrimSuffix(filepath.Base(file), ".txt"), values: map[string]string{}, zone: zoneText}
		for line := range strings.Lines(head) {
			key, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			if !found {
				tb.Fatalf("%s: %q is not key: value", file, line)
			}
			value = strings.TrimSpace(value)
			if strings.Contains(value, `\`) {
				if value, err = strconv.Unquote(`"` + value + `"`); err != nil {
					tb.Fatalf("%s: %s: %v", file, key, err)
				}
			}
			c.values[key] = value
		}
		cases = append(cases, c)
	}
	return cases
}

func (c caseFile) args() Args {
	return Args{
		IP: netip.MustParseAddr(c.values["ip"]), HELO: c.values["helo"], MailFrom: c.values["from"],
		Receiver: "mx.receiver.example", Now: time.Unix(1700000000, 0),
	}
}

func TestCases(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.name, func(t *testing.T) {
			z := nameserver.Zone(t, c.zone)
			checkIdentity := CheckMailFrom
			if c.values["identity"] == "helo" {
				checkIdentity = CheckHELO
			}
			got := checkIdentity(t.Context(), z, c.args())
			if c.values["result"] == "" {
				t.Fatal("the case wants no result")
			}
			for key, have := range map[string]string{
				"identity":    string(got.Identity),
				"result":      string(got.Result),
				"mechanism":   got.Mechanism,
				"reason":      string(got.Reason),
				"domain":      string(got.Domain),
				"explanation": got.Explanation,
				"lookups":     strconv.Itoa(got.Lookups),
				"voids":       strconv.Itoa(got.VoidLookups),
				"asked":       strings.Join(z.Queries(), ", "),
			} {
				if want, compared := c.values[key]; compared && have != want {
					t.Errorf("%s is %q, want %q", key, have, want)
				}
			}
			if got.Queries != len(z.Queries()) {
				t.Errorf("%d queries counted, %d made", got.Queries, len(z.Queries()))
			}
			if (got.Problem == "") != (got.Reason == "") {
				t.Errorf("reason %q with problem %q", got.Reason, got.Problem)
			}
			if t.Failed() {
				for _, s := range got.Trace {
					t.Logf("%*s%s %s: %s %s", 2*s.Depth, "", s.Domain, s.Term, s.Outcome, s.Detail)
				}
			}
		})
	}
}
