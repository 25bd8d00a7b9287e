package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sekimori/internal/authres"
	"sekimori/internal/dns/dnstest"
	"sekimori/internal/spf"
)

type spfScenario struct {
	ID    string          `json:"id"`
	Zone  json.RawMessage `json:"zone"`
	Tests []spfTest       `json:"tests"`
}

type spfTest struct {
	ID          string   `json:"id"`
	HELO        string   `json:"helo"`
	IP          string   `json:"ip"`
	MailFrom    string   `json:"mailfrom"`
	Expect      []string `json:"expect"`
	Explanation *string  `json:"explanation,omitempty"`
}

// TestConformanceSPF runs the shared suites. Explanations are no part of
// Authentication-Results; the same suites hold them in package spf.
func TestConformanceSPF(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		total      int
		qualify    bool
	}{
		{"rfc7208", "spf/rfc7208.json", 203, false},
		{"pyspf-test", "spf/pyspf-test.json", 16, false},
		{"blitiri", "spf/blitiri.json", 83, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := os.ReadFile(shared(t, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			suite{name: "spf/" + tt.name + " daemon", total: tt.total, rows: spfRows(spfScenarios(t, raw, tt.qualify))}.run(t)
		})
	}
}

// TestConformanceSPFModule runs what the module of the second opinion carries:
// every clone has that.
func TestConformanceSPFModule(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		total      int
		qualify    bool
	}{
		{"rfc7208", "rfc7208-tests.yml", 203, false},
		{"blitiri", "blitirispf-tests.yml", 83, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(moduleDir(t, "blitiri.com.ar/go/spf"), "testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			scenarios := spfScenarios(t, spfYAML(t, raw), tt.qualify)
			if tt.name == "blitiri" { // package spf does the other
				spfInProcess(t, "spf/blitiri of the module, in process", scenarios)
			}
			suite{name: "spf/" + tt.name + " of the module, daemon", total: tt.total, rows: spfRows(scenarios)}.run(t)
		})
	}
}

func spfScenarios(t *testing.T, raw []byte, qualify bool) []spfScenario {
	t.Helper()
	if qualify {
		raw = qualifyLabels(raw)
	}
	var s struct {
		Scenarios []spfScenario `json:"scenarios"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s.Scenarios
}

// Rows of which the shared data says that the row is wrong, with what is right.
var spfWrong = map[string]string{
	"default-modifier":       "neutral",
	"default-modifier-harsh": "neutral",
}

func spfRows(scenarios []spfScenario) []row {
	var rows []row
	for _, sc := range scenarios {
		for _, test := range sc.Tests {
			r := row{id: test.ID, zone: sc.Zone, check: test.check}
			switch {
			case spfWrong[test.ID] != "":
				r.excluded = "lax mode of pyspf; the RFC and the daemon say neutral"
				test.Expect = []string{spfWrong[test.ID]}
				r.check = test.check
			case strings.HasPrefix(test.MailFrom, "@"):
				r.excluded = "MAIL FROM without a local part cannot be said in SMTP; the daemon says none"
				test.Expect = []string{"none"}
				r.check = test.check
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// check sends a message of an author without any policy, so that nothing but
// SPF is asked about the row's names.
func (s spfTest) check(st *station) error {
	o, err := st.label(mail{ip: s.IP, helo: s.HELO, from: "<" + smtpPath(s.MailFrom) + ">",
		raw: []byte("From: author@author.invalid\r\nSubject: " + s.ID + "\r\n\r\nbody\r\n")})
	if err != nil {
		return err
	}
	r, err := o.word("spf")
	if err != nil {
		return err
	}
	if err := oneOf("spf", r.Value, s.Expect); err != nil {
		return err
	}
	// RFC 8601 §2.7.2: the identity that was checked.
	identity := "mailfrom"
	if s.MailFrom == "" {
		identity = "helo"
	}
	if len(r.Properties) != 1 || r.Properties[0].Type != authres.PTypeSMTP || r.Properties[0].Name != identity {
		return fmt.Errorf("identity %+v, want %s", r.Properties, identity)
	}
	return nil
}

var dotString = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]*$")

// smtpPath writes an address as SMTP has to: most local parts as they are, the
// others quoted.
func smtpPath(address string) string {
	local, domain, found := strings.Cut(address, "@")
	if !found || dotString.MatchString(local) {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"@` + domain
}

// spfInProcess runs the evaluator alone, explanations included.
func spfInProcess(t *testing.T, name string, scenarios []spfScenario) {
	t.Helper()
	passed, total := 0, 0
	for _, sc := range scenarios {
		zone, err := dnstest.FromConformance(sc.Zone)
		if err != nil {
			t.Fatalf("%s: %v", sc.ID, err)
		}
		for _, test := range sc.Tests {
			total++
			args := spf.Args{IP: netip.MustParseAddr(test.IP), HELO: test.HELO, MailFrom: test.MailFrom, Receiver: "receiver.example", Now: time.Unix(1700000000, 0)}
			c := spf.CheckMailFrom(t.Context(), zone, args)
			switch want := strings.TrimPrefix(deref(test.Explanation), "DEFAULT"); {
			case !slices.Contains(test.Expect, string(c.Result)):
				t.Errorf("%s: %s: %s, want %v", name, test.ID, c.Result, test.Expect)
			case test.Explanation != nil && c.Result == spf.Fail && c.Explanation != want:
				t.Errorf("%s: %s: explanation %q, want %q", name, test.ID, c.Explanation, want)
			default:
				passed++
			}
		}
	}
	logLine(t, name, passed, total, nil)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

var (
	singleTarget = regexp.MustCompile(`\b(include:|exists:|a:|mx:|redirect=|@)([a-z0-9-]+)([" ])`)
	singleKey    = regexp.MustCompile(`"((?:at10|at10match|over-[a-z]+|nomatch|amatch|mxmatch|domain|atvoid2|overvoid-[a-z]+|onlya|mx1[01]|ptr1[01]|ptrmixed|blah[123]|sender|doesnotexist|d\d\d)[a-z]*)"`)
)

// qualifyLabels puts single labels of the blitiri suite below ".test": RFC 7208
// §4.3 and §7.1 refuse domains such as "d11", and the openspf suite demands it.
func qualifyLabels(raw []byte) []byte {
	s := singleTarget.ReplaceAllString(string(raw), "$1$2.test$3")
	s = singleTarget.ReplaceAllString(s, "$1$2.test$3") // neighbours share their space
	s = singleKey.ReplaceAllString(s, `"$1.test"`)
	return []byte(strings.ReplaceAll(s, ".test.test", ".test"))
}

// spfYAML turns a suite as published into the form of the shared data.
func spfYAML(t *testing.T, raw []byte) []byte {
	t.Helper()
	type scenario struct {
		Zone  map[string][]map[string]any `json:"zone"`
		Tests []spfTest                   `json:"tests"`
	}
	var out struct {
		Scenarios []scenario `json:"scenarios"`
	}
	for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var doc struct {
			Tests map[string]struct {
				HELO        string  `yaml:"helo"`
				Host        string  `yaml:"host"`
				MailFrom    string  `yaml:"mailfrom"`
				Result      any     `yaml:"result"` // one, or a list
				Explanation *string `yaml:"explanation"`
			} `yaml:"tests"`
			ZoneData map[string][]map[string]any `yaml:"zonedata"`
		}
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		sc := scenario{Zone: map[string][]map[string]any{}}
		for name, records := range doc.ZoneData {
			sc.Zone[name] = yamlRecords(name, records)
		}
		for id, y := range doc.Tests {
			sc.Tests = append(sc.Tests, spfTest{ID: id, HELO: y.HELO, IP: y.Host, MailFrom: y.MailFrom, Expect: stringsOf(y.Result), Explanation: y.Explanation})
		}
		out.Scenarios = append(out.Scenarios, sc)
	}
	suite, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return suite
}

// yamlRecords are the records of one name. SPF stands for TXT where a name has
// no TXT of its own; TXT: NONE is a name that has none at all.
func yamlRecords(name string, records []map[string]any) []map[string]any {
	out := []map[string]any{}
	hasTXT := slices.ContainsFunc(records, func(r map[string]any) bool { return r["TXT"] != nil })
	for _, r := range records {
		for typ, value := range r {
			switch {
			case typ == "TIMEOUT" || typ == "SERVFAIL":
				out = append(out, map[string]any{"type": "*", "rcode": typ})
			case typ == "CNAMELOOP":
				out = append(out, map[string]any{"type": "CNAME", "data": name})
			case typ == "SPF" && hasTXT, value == "NONE":
			case typ == "SPF" || typ == "TXT":
				out = append(out, map[string]any{"type": "TXT", "data": stringsOf(value)})
			default:
				out = append(out, map[string]any{"type": typ, "data": value})
			}
		}
	}
	return out
}

// stringsOf reads a YAML value that is a string or a list of them.
func stringsOf(v any) []string {
	out := []string{}
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, s := range v {
			if text, ok := s.(string); ok {
				out = append(out, text)
			}
		}
	}
	return out
}
