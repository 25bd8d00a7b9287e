package suites

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// SPFSuite is one published suite of SPF checks.
type SPFSuite struct {
	Name  string
	Total int // number of checks that the publisher states

	file   string // in the folder spf of the shared data, or in the folder testdata of the module
	module bool   // the file is the publisher's YAML in the module blitiri.com.ar/go/spf, not JSON of the shared data
	// qualify is true if ".test" must be added to names of one label. The suite uses domains such
	// as "d11", which RFC 7208 §4.3 and §7.1 do not allow (see a-only-toplabel in the openspf
	// suite).
	qualify bool
}

// SPFShared lists the suites in the shared data.
var SPFShared = []SPFSuite{
	{Name: "rfc7208", Total: 203, file: "rfc7208.json"},
	{Name: "pyspf-test", Total: 16, file: "pyspf-test.json"},
	{Name: "blitiri", Total: 83, file: "blitiri.json", qualify: true},
}

// SPFOfModule lists the suites in the module blitiri.com.ar/go/spf. They are available wherever the
// tests can be built, because the module is needed for that.
var SPFOfModule = []SPFSuite{
	{Name: "rfc7208", Total: 203, file: "rfc7208-tests.yml", module: true},
	{Name: "blitiri", Total: 83, file: "blitirispf-tests.yml", module: true, qualify: true},
}

// SPFScenario is a zone in the format of the shared data (see Zone), and the checks that use it.
type SPFScenario struct {
	ID    string          `json:"id"`
	Zone  json.RawMessage `json:"zone"`
	Tests []SPFTest       `json:"tests"`
}

// SPFTest is one check. If MailFrom is "", the HELO identity is checked. Explanation is nil if the
// suite does not state it, and "DEFAULT" if the domain has no explanation of its own.
type SPFTest struct {
	ID          string   `json:"id"`
	HELO        string   `json:"helo"`
	IP          string   `json:"ip"`
	MailFrom    string   `json:"mailfrom"`
	Expect      []string `json:"expect"` // any of these results is right
	Explanation *string  `json:"explanation,omitempty"`
}

// spfWrong lists the checks that the file INDEX.md of the shared data calls wrong.
var spfWrong = []string{"default-modifier", "default-modifier-harsh"}

// Corrected returns the check with the result that the RFC requires. wrong is true if the suite
// expects another result. This is so for the checks in spfWrong: the suite expects what pyspf does
// in lax mode, but by RFC 7208 §6 unknown modifiers are ignored.
func (t SPFTest) Corrected() (SPFTest, bool) {
	wrong := slices.Contains(spfWrong, t.ID)
	if wrong {
		t.Expect = []string{"neutral"}
	}
	return t, wrong
}

// Scenarios reads the suite from its file.
func (s SPFSuite) Scenarios(tb testing.TB) []SPFScenario {
	tb.Helper()
	var raw []byte
	if s.module {
		raw = spfYAML(tb, readFile(tb, filepath.Join(Module(tb, "blitiri.com.ar/go/spf"), "testdata", s.file)))
	} else {
		raw = Read(tb, "spf/"+s.file)
	}
	if s.qualify {
		raw = qualifyLabels(raw)
	}
	var doc struct {
		Scenarios []SPFScenario `json:"scenarios"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		tb.Fatalf("%s: %v", s.file, err)
	}
	return doc.Scenarios
}

var (
	singleTarget = regexp.MustCompile(`\b(include:|exists:|a:|mx:|redirect=|@)([a-z0-9-]+)([" ])`)
	singleKey    = regexp.MustCompile(`"((?:at10|at10match|over-[a-z]+|nomatch|amatch|mxmatch|domain|atvoid2|overvoid-[a-z]+|onlya|` +
		`mx1[01]|ptr1[01]|ptrmixed|blah[123]|sender|doesnotexist|d\d\d)[a-z]*)"`)
)

// qualifyLabels adds ".test" to the names of one label in the blitiri suite.
func qualifyLabels(raw []byte) []byte {
	s := singleTarget.ReplaceAllString(string(raw), "$1$2.test$3")
	s = singleTarget.ReplaceAllString(s, "$1$2.test$3") // twice, because a match also takes the blank that the next match needs
	s = singleKey.ReplaceAllString(s, `"$1.test"`)
	return []byte(strings.ReplaceAll(s, ".test.test", ".test"))
}

// spfYAML converts a suite from the publisher's YAML to the JSON of the shared data.
func spfYAML(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	var out struct {
		Scenarios []SPFScenario `json:"scenarios"`
	}
	for dec := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var doc struct {
			Tests map[string]struct {
				HELO        string  `yaml:"helo"`
				Host        string  `yaml:"host"`
				MailFrom    string  `yaml:"mailfrom"`
				Result      any     `yaml:"result"` // a string or a list of strings
				Explanation *string `yaml:"explanation"`
			} `yaml:"tests"`
			ZoneData map[string][]map[string]any `yaml:"zonedata"`
		}
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			tb.Fatal(err)
		}
		zone := map[string][]map[string]any{}
		for name, records := range doc.ZoneData {
			zone[name] = yamlRecords(name, records)
		}
		sc := SPFScenario{Zone: marshal(tb, zone)}
		for id, y := range doc.Tests {
			sc.Tests = append(sc.Tests, SPFTest{ID: id, HELO: y.HELO, IP: y.Host, MailFrom: y.MailFrom, Expect: stringsOf(y.Result),
				Explanation: y.Explanation})
		}
		out.Scenarios = append(out.Scenarios, sc)
	}
	return marshal(tb, out)
}

// yamlRecords converts the records of one name. An SPF record becomes a TXT record if the name has
// no TXT record of its own. "TXT: NONE" means that the name has neither.
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

// stringsOf returns the strings of a YAML value that is a string or a list.
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

func marshal(tb testing.TB, v any) json.RawMessage {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}
