package spf

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns/dnstest"
)

type suite struct {
	Scenarios []struct {
		ID    string          `json:"id"`
		Zone  json.RawMessage `json:"zone"`
		Tests []suiteTest     `json:"tests"`
	} `json:"scenarios"`
}

type suiteTest struct {
	ID          string   `json:"id"`
	HELO        string   `json:"helo"`
	IP          string   `json:"ip"`
	MailFrom    string   `json:"mailfrom"`
	Expect      []string `json:"expect"`
	Explanation *string  `json:"explanation"`
}

// repoRoot is the directory of go.mod.
func repoRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// conformanceDir is the shared data beside the repository; a clone alone does
// not have it.
func conformanceDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(repoRoot(t)), "shared", "conformance", "spf")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("suites of spf: skipped, no conformance data beside the repository: %v", err)
	}
	return dir
}

// Rows that INDEX.md of the data names as wrong, with what the RFC says.
var corrected = map[string][]string{
	"default-modifier":       {"neutral"}, // lax mode of pyspf; RFC 7208 §6: unknown modifiers are ignored
	"default-modifier-harsh": {"neutral"},
}

func TestConformance(t *testing.T) {
	dir := conformanceDir(t)
	for _, tc := range []struct {
		file  string
		cases int
		// qualify gives single labels a parent: the suite writes domains such
		// as "d11", which RFC 7208 §4.3 and §7.1 refuse (see a-only-toplabel
		// of the openspf suite).
		qualify bool
	}{
		{"rfc7208.json", 203, false},
		{"pyspf-test.json", 16, false},
		{"blitiri.json", 83, true},
	} {
		t.Run(tc.file, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(dir, tc.file))
			if err != nil {
				t.Fatal(err)
			}
			if tc.qualify {
				raw = qualifyLabels(raw)
			}
			var s suite
			if err := json.Unmarshal(raw, &s); err != nil {
				t.Fatal(err)
			}
			passed, total, excluded := 0, 0, 0
			for _, sc := range s.Scenarios {
				zone, err := dnstest.FromConformance(sc.Zone)
				if err != nil {
					t.Fatalf("%s: %v", sc.ID, err)
				}
				for _, test := range sc.Tests {
					total++
					switch ok := runRow(t, zone, sc.ID, test); {
					case corrected[test.ID] != nil:
						excluded++
					case ok:
						passed++
					}
				}
			}
			logSuite(t, strings.TrimSuffix(tc.file, ".json"), passed, total, excluded)
			if total != tc.cases {
				t.Errorf("the suite has %d rows, want %d", total, tc.cases)
			}
		})
	}
}

// logSuite writes the line that make conformance looks for. What is excluded is
// the corrected rows.
func logSuite(t *testing.T, name string, passed, total, excluded int) {
	t.Helper()
	line := fmt.Sprintf("suite spf/%s in process: passed %d / total %d", name, passed, total)
	if excluded > 0 {
		line += fmt.Sprintf(" (excluded %d: lax mode of pyspf; the RFC says neutral, and so do we)", excluded)
	}
	t.Log(line)
}

func runRow(t *testing.T, zone *dnstest.Zone, scenario string, test suiteTest) bool {
	t.Helper()
	args := Args{IP: netip.MustParseAddr(test.IP), HELO: test.HELO, MailFrom: test.MailFrom, Receiver: "receiver.example", Now: time.Unix(1700000000, 0)}
	want := test.Expect
	if fixed, ok := corrected[test.ID]; ok {
		want = fixed
	}
	checks := []Check{CheckMailFrom(t.Context(), zone, args)}
	if test.MailFrom == "" { // the same identity by its other name
		checks = append(checks, CheckHELO(t.Context(), zone, args))
	}
	ok := true
	for _, c := range checks {
		if !slices.Contains(want, string(c.Result)) {
			t.Errorf("%s %s: %s, want %v (%s)\n%+v", scenario, test.ID, c.Result, want, c.Problem, c.Trace)
			ok = false
		}
		if test.Explanation != nil {
			explanation := *test.Explanation
			if explanation == "DEFAULT" {
				explanation = ""
			}
			if c.Result == Fail && c.Explanation != explanation {
				t.Errorf("%s %s: explanation %q, want %q\n%+v", scenario, test.ID, c.Explanation, explanation, c.Trace)
				ok = false
			}
		}
	}
	return ok
}

var (
	singleTarget = regexp.MustCompile(`\b(include:|exists:|a:|mx:|redirect=|@)([a-z0-9-]+)([" ])`)
	singleKey    = regexp.MustCompile(`"((?:at10|at10match|over-[a-z]+|nomatch|amatch|mxmatch|domain|atvoid2|overvoid-[a-z]+|onlya|mx1[01]|ptr1[01]|ptrmixed|blah[123]|sender|doesnotexist|d\d\d)[a-z]*)"`)
)

// qualifyLabels puts single labels of the blitiri suite below ".test".
func qualifyLabels(raw []byte) []byte {
	s := singleTarget.ReplaceAllString(string(raw), "$1$2.test$3")
	s = singleTarget.ReplaceAllString(s, "$1$2.test$3") // neighbours share their space
	s = singleKey.ReplaceAllString(s, `"$1.test"`)
	return []byte(strings.ReplaceAll(s, ".test.test", ".test"))
}
