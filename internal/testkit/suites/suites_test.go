package suites

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"sekimori/internal/testkit/recorder"
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		there      []string // files that exist in this case
		want       string
	}{
		{"beside the repository", "dkim/a.json", []string{"repo/go.mod", "shared/conformance/dkim/a.json"}, ""},
		{"a clone alone", "dkim/a.json", []string{"repo/go.mod"}, "skip: suites in dkim/a.json: skipped, there is no ../shared/conformance"},
		{"something else is called shared", "dkim/a.json", []string{"repo/go.mod", "shared/notes"}, "skip: suites in dkim/a.json: skipped"},
		{"the data has a hole", "dkim/a.json", []string{"repo/go.mod", "shared/conformance/spf/b.json"}, "fatal: the conformance data is not whole"},
		{"no repository", "dkim/a.json", nil, "fatal: no go.mod above the test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top := t.TempDir()
			for _, file := range tt.there {
				write(t, filepath.Join(top, file), "{}")
			}
			in := filepath.Join(top, "repo", "internal", "dns", "zone")
			if err := os.MkdirAll(in, 0o700); err != nil {
				t.Fatal(err)
			}
			t.Chdir(in)
			if got := recorder.Run(t, func(tb testing.TB) { Read(tb, tt.file) }); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// shared makes a repository with data beside it, and changes into it.
func shared(t *testing.T, files map[string]string) {
	t.Helper()
	top := t.TempDir()
	write(t, filepath.Join(top, "repo/go.mod"), "")
	for name, text := range files {
		write(t, filepath.Join(top, "shared/conformance", name), text)
	}
	t.Chdir(filepath.Join(top, "repo"))
}

// TestReads checks what each kind of suite takes from its file.
func TestReads(t *testing.T) {
	shared(t, map[string]string{
		"bimi/svg/a.svg": "A", "bimi/svg/b.svg": "B", "dkim/m/1.eml": "one", "espoofer/2.eml": "two",
		"dkim/opendkim-milter.json": `{"cases":[{"id":"a","eml":"m/1.eml"}],"milter_cases":[{"id":"b","eml":"m/1.eml"},{"id":"c","eml":"m/1.eml","zone":{"z":[]}}]}`,
		"espoofer/cases.json":       `{"zone":{"a":[1]},"zone_client":{"b":[2]},"cases":[{"id":"d","eml":"2.eml"}]}`,
		"arc/arc-validation.json":   `{"cases":[{"id":"e","eml":"lost.eml"}]}`,
		"dmarc/dmarcbis.json":       `{"cases":3}`,
		"spf/rfc7208.json":          `{"scenarios":3}`,
		"a.go":                      "no Go",
	})
	if got := BIMI(t, "svg"); len(got) != 2 || string(got["a.svg"]) != "A" || string(got["b.svg"]) != "B" {
		t.Errorf("BIMI: %q", got)
	}
	var got []string
	for _, c := range DKIM(t, "opendkim-milter") {
		got = append(got, c.ID+" "+string(c.Raw)+" "+string(c.Zone))
	}
	for _, c := range Espoofer(t) {
		got = append(got, c.ID+" "+string(c.Raw)+" "+string(c.Zone))
	}
	if want := []string{"a one ", "b one {}", `c one {"z":[]}`, `d two {"a":[1],"b":[2]}`}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for name, read := range map[string]func(testing.TB){
		"a message is missing": func(tb testing.TB) { ARC(tb) }, "not a list": func(tb testing.TB) { DMARC(tb) },
		"not scenarios": func(tb testing.TB) { SPFShared[0].Scenarios(tb) }, "not YAML": func(tb testing.TB) { spfYAML(tb, []byte("a: [")) },
		"not Go":             func(tb testing.TB) { readConstants(tb, Path(tb, "a.go"), nil) },
		"a folder is a file": func(tb testing.TB) { BIMI(tb, "svg/a.svg") },
	} {
		if said := recorder.Run(t, read); !strings.HasPrefix(said, "fatal: ") || strings.Count(said, "fatal: ") != 1 {
			t.Errorf("%s: %q", name, said)
		}
	}
}

func TestNeedsOpenDKIM(t *testing.T) {
	for id, want := range map[string]bool{"t-lua-x": true, "t-conf-x": true, "t-peer": true, "t-peers": false, "t-sign": false} {
		if got := (DKIMCase{Message: Message{ID: id}}).NeedsOpenDKIM(); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestModule(t *testing.T) {
	if got := recorder.Run(t, func(tb testing.TB) { Module(tb, "example.com/not/required") }); !strings.HasPrefix(got,
		"fatal: go list -m example.com/not/required") {
		t.Errorf("a module that go.mod does not require: %q", got)
	}
	dir := Module(t, "github.com/goccy/go-yaml")
	if _, err := os.Stat(filepath.Join(dir, "yaml.go")); err != nil {
		t.Error(err)
	}
}

// TestLog checks the form of the summary line, because "make conformance" finds it by its
// beginning.
func TestLog(t *testing.T) {
	for excluded, want := range map[string]string{
		"":                "log: suite a/b daemon: passed 3 / total 4",
		"excluded 1: odd": "log: suite a/b daemon: passed 3 / total 4 (excluded 1: odd)",
	} {
		if got := recorder.Run(t, func(tb testing.TB) { Log(tb, "a/b daemon", 3, 4, excluded) }); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSPFYAML(t *testing.T) {
	var doc struct{ Scenarios []SPFScenario }
	raw := spfYAML(t, []byte(`
description: one
tests:
  a: {helo: h.example, host: 192.0.2.1, mailfrom: x@a.example, result: [pass, fail], explanation: DEFAULT}
zonedata:
  a.example:
    - SPF: v=spf1 -all
    - MX: [10, b.example]
  b.example:
    - SPF: not used
    - TXT: [v=spf1, " -all"]
  c.example:
    - SPF: v=spf1 -all
    - TXT: NONE
  d.example:
    - TIMEOUT: true
    - CNAMELOOP: true
  e.example:
    - TXT: plain
    - SERVFAIL: true
---
tests:
  b: {host: "2001:db8::1", result: none}
zonedata:
`))
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Scenarios) != 2 {
		t.Fatalf("%d scenarios: %s", len(doc.Scenarios), raw)
	}
	usual := "DEFAULT"
	for i, want := range []SPFTest{
		{ID: "a", HELO: "h.example", IP: "192.0.2.1", MailFrom: "x@a.example", Expect: []string{"pass", "fail"}, Explanation: &usual},
		{ID: "b", IP: "2001:db8::1", Expect: []string{"none"}},
	} {
		if got := doc.Scenarios[i].Tests; !reflect.DeepEqual(got, []SPFTest{want}) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	var zone map[string]json.RawMessage
	if err := json.Unmarshal(doc.Scenarios[0].Zone, &zone); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.example": `[{"data":["v=spf1 -all"],"type":"TXT"},{"data":[10,"b.example"],"type":"MX"}]`,
		"b.example": `[{"data":["v=spf1"," -all"],"type":"TXT"}]`,
		"c.example": `[]`,
		"e.example": `[{"data":["plain"],"type":"TXT"},{"rcode":"SERVFAIL","type":"*"}]`,
		"d.example": `[{"rcode":"TIMEOUT","type":"*"},{"data":"d.example","type":"CNAME"}]`,
	} {
		if got := string(zone[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestQualifyLabels(t *testing.T) {
	for in, want := range map[string]string{
		`"d11": "v=spf1 include:d12 a:d13 -all"`: `"d11.test": "v=spf1 include:d12.test a:d13.test -all"`,
		`"a.example": "v=spf1 a:b.example"`:      `"a.example": "v=spf1 a:b.example"`,
		`"x@d11"`:                                `"x@d11.test"`,
	} {
		if got := string(qualifyLabels([]byte(in))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestCorrected checks that Corrected changes the two checks in spfWrong and does not change
// another check.
func TestCorrected(t *testing.T) {
	for id, want := range map[string]string{"default-modifier": "neutral", "default-modifier-harsh": "neutral", "default-result": "pass"} {
		got, wrong := SPFTest{ID: id, Expect: []string{"pass"}}.Corrected()
		if got.Expect[0] != want || wrong != (want == "neutral") {
			t.Errorf("%s: %v, %v", id, got.Expect, wrong)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		ok        bool
	}{
		{"pass", "pass", true},
		{"pass", "fail pass", true},
		{"pass", "fail", false},
		{"fail", "permerror", true}, // every result except pass is right
		{"fail", "pass", false},
		{"pass permerror", "permerror", true},
		{"pass permerror", "pass", true},
		{"temperror", "temperror", true},
		{"temperror", "fail", false},
		{"fail temperror", "pass", false},
		{"fail temperror", "fail", true},
	} {
		if err := (DKIMCase{Expect: strings.Fields(tt.want)}).Judge(strings.Fields(tt.got)); (err == nil) != tt.ok {
			t.Errorf("%s for %s: %v", tt.got, tt.want, err)
		}
	}
}

func TestConstants(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.go")
	write(t, file, "package a\nconst one = \"1\" + `2` +\n\t\"\\n\"\nvar two, three = \"2\", \"3\"\nvar four = f(\"4\")\nvar five = f(\"5\") + \"6\"\nvar six = \"5\" + f(\"6\")\nvar seven, eight = \"7\"\n")
	texts := map[string]string{}
	readConstants(t, file, texts)
	if want := map[string]string{"one": "12\n"}; !reflect.DeepEqual(texts, want) {
		t.Errorf("%q, want %q", texts, want)
	}
}

// TestWholeSPF checks that each suite has as many checks as its publisher states, and that no
// required field of a check is empty.
func TestWholeSPF(t *testing.T) {
	for kind, list := range map[string][]SPFSuite{"of the module": SPFOfModule, "shared": SPFShared} {
		t.Run(kind, func(t *testing.T) {
			for _, s := range list {
				rows := 0
				for _, sc := range s.Scenarios(t) {
					for _, test := range sc.Tests {
						rows++
						if test.ID == "" || test.IP == "" || len(test.Expect) == 0 || len(sc.Zone) == 0 {
							t.Errorf("%s: %+v", s.Name, test)
						}
					}
				}
				if rows != s.Total {
					t.Errorf("%s has %d rows, want %d", s.Name, rows, s.Total)
				}
			}
		})
	}
}

func TestWholeMail(t *testing.T) {
	for _, c := range DKIMOfModule(t) {
		if len(c.Raw) == 0 || len(c.Expect) == 0 || !json.Valid(c.Zone) {
			t.Errorf("go-msgauth of the module: %+v", c)
		}
	}
	for name, total := range map[string]int{"opendkim-lib": 76, "opendkim-milter": 19, "go-msgauth": 5, "dkimpy": 4} {
		cases := DKIM(t, name)
		for _, c := range cases {
			if c.ID == "" || len(c.Raw) == 0 || len(c.Expect) == 0 && name != "opendkim-milter" {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if len(cases) != total {
			t.Errorf("%s has %d rows, want %d", name, len(cases), total)
		}
	}
	for _, c := range ARC(t) {
		if c.Expect == "" || (len(c.Raw) == 0) != (c.ID == "cv_empty") {
			t.Errorf("%s: %q of %d octets", c.ID, c.Expect, len(c.Raw))
		}
	}
	for _, c := range DMARC(t) {
		if c.ID == "" || c.Author == "" || len(c.Raw) == 0 || len(c.Expect.DMARC) == 0 {
			t.Errorf("%+v", c)
		}
	}
	for _, c := range Espoofer(t) {
		if c.ID == "" || c.MailFrom == "" || len(c.Raw) == 0 || len(c.Expect.DMARC) == 0 || !json.Valid(c.Zone) {
			t.Errorf("%+v", c)
		}
	}
}
