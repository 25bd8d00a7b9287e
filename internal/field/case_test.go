package field

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJudge checks that every kind of requirement in a case can fail.
func TestJudge(t *testing.T) {
	const raw = `{"verdict":{"verdict":"tag","reply":{}},"authentication_results":"mx;\r\n spf=pass","evaluation":{"n":3,"list":[],"dkim":[{"result":"fail"}],"empty":{},"null":null,"word":"absentee","yes":true}}`
	for name, tt := range map[string]struct {
		c     Case
		wrong string // a part of the only complaint, "" for no complaint
	}{
		"verdict":            {Case{Verdict: []string{"accept", "tag"}}, ""},
		"other verdict":      {Case{Verdict: []string{"reject"}}, `verdict.verdict is "tag"`},
		"a verdict is whole": {Case{Verdict: []string{"ta"}}, "verdict.verdict"},
		"label":              {Case{LabelContains: []string{"mx; spf=pass"}}, ""},
		"label lacks":        {Case{LabelContains: []string{"dkim="}}, "the label lacks"},
		"label has":          {Case{LabelLacks: []string{"spf="}}, "the label has"},
		"output":             {Case{OutputContains: []string{"for a person"}}, ""},
		"output lacks":       {Case{OutputContains: []string{"nothing"}}, "the output lacks"},
		"output has":         {Case{OutputLacks: []string{"person"}}, "the output has"},
		"no reply":           {Case{ReplyContains: []string{"From"}}, "the reply lacks"},
		"json":               {Case{JSON: map[string][]string{"evaluation.n": {"3"}, "evaluation.list": {"absent", "[]"}}}, ""},
		"json differs":       {Case{JSON: map[string][]string{"evaluation.n": {"4"}}}, `evaluation.n is "3"`},
		"an element":         {Case{JSON: map[string][]string{"evaluation.dkim.0.result": {"fail"}, "evaluation.dkim.1.result": {"absent"}}}, ""},
		"absent":             {Case{JSON: map[string][]string{"verdict.reply": {"absent"}, "a.b": {"absent"}}}, ""},
		"nothing wanted":     {Case{}, ""},
		"reply has":          {Case{ReplyLacks: []string{""}}, "the reply has"},
		"output of --json":   {Case{OutputContains: []string{"personX{\"verdict\""}}, `the output lacks "personX{\"verdict\""`},
		"both outputs":       {Case{OutputContains: []string{"person{\"verdict\""}}, ""},
		"beginning":          {Case{JSON: map[string][]string{"evaluation.word": {"x", "absent-minded", "absente"}}}, ""},
		"a word that begins": {Case{JSON: map[string][]string{"evaluation.word": {"absent"}}}, "evaluation.word"},
		"true":               {Case{JSON: map[string][]string{"evaluation.yes": {"true"}, "evaluation.dkim": {`[{"result":"fail"}]`}}}, ""},
		"below values": {Case{JSON: map[string][]string{"evaluation.n.x": {"absent"}, "verdict.verdict.0": {"absent"}, "evaluation.null": {"absent"}, "evaluation.null.x": {"absent"},
			"evaluation.empty": {"absent"}, "evaluation.dkim.x.result": {"absent"}, "evaluation.dkim.-1.result": {"absent"}, "evaluation.list.0": {"absent"}}}, ""},
		"an empty list is there": {Case{JSON: map[string][]string{"evaluation.list": {"absent"}}}, "evaluation.list"},
		"present, not absent":    {Case{JSON: map[string][]string{"evaluation.n": {"absent"}}}, "evaluation.n"},
	} {
		t.Run(name, func(t *testing.T) {
			all := tt.c.Judge("for a person", []byte(raw))
			wrong := strings.Join(all, "\n")
			if len(all) > 1 || (tt.wrong == "") != (wrong == "") || !strings.Contains(wrong, tt.wrong) {
				t.Errorf("got %q, want %q", wrong, tt.wrong)
			}
		})
	}
}

// TestJudgeText checks output without --json, and output that is not JSON.
func TestJudgeText(t *testing.T) {
	wanted := Case{OutputContains: []string{"person"}, OutputLacks: []string{"crowd"}, JSON: map[string][]string{"a": {"absent"}}}
	for raw, want := range map[string]string{"": "", "{}": "", "{": "the --json output does not parse: unexpected end of JSON input", "}{": "the --json output does not parse"} {
		got := wanted.Judge("for a person", []byte(raw))
		if len(got) > 1 || !strings.HasPrefix(strings.Join(got, ""), want) || (want == "") != (len(got) == 0) {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
	wanted.Verdict = []string{"accept"}
	if got := wanted.Judge("for a person", nil); len(got) != 1 || got[0] != `verdict.verdict is "", want one of ["accept"]` {
		t.Errorf("no verdict: %q", got)
	}
}

// TestComplete has each requirement alone, and with another.
func TestComplete(t *testing.T) {
	const nothing, reason, twin = "a case needs something that is wanted", "a case needs kind and why", "a twin, and only a twin, says what it is the twin of"
	verdict := func(c *Case) { c.Verdict = []string{"accept"} }
	for name, tt := range map[string]struct {
		set  func(*Case)
		want string
	}{
		"nothing": {func(*Case) {}, nothing}, "verdict": {verdict, ""},
		"label contains":  {func(c *Case) { c.LabelContains = []string{"x"} }, ""},
		"label lacks":     {func(c *Case) { c.LabelLacks = []string{"x"} }, ""},
		"output contains": {func(c *Case) { c.OutputContains = []string{"x"} }, ""},
		"output lacks":    {func(c *Case) { c.OutputLacks = []string{"x"} }, ""},
		"reply contains":  {func(c *Case) { c.ReplyContains = []string{"x"} }, ""},
		"reply lacks":     {func(c *Case) { c.ReplyLacks = []string{"x"} }, ""},
		"json":            {func(c *Case) { c.JSON = map[string][]string{"x": nil} }, ""},
		"no kind":         {func(c *Case) { c.Kind = ""; verdict(c) }, reason},
		"no why":          {func(c *Case) { c.Why = ""; verdict(c) }, reason},
		"milter":          {func(c *Case) { c.Run = "milter" }, ""},
		"postfix":         {func(c *Case) { c.Run = "postfix" }, ""},
		"tool":            {func(c *Case) { c.Run = "tool" }, ""},
		"tool, no kind":   {func(c *Case) { c.Run, c.Kind = "tool", "" }, reason},
		"replay":          {func(c *Case) { c.Run = "replay" }, nothing},
		"twin":            {func(c *Case) { c.Kind, c.TwinOf = "twin", "x"; verdict(c) }, ""},
		"twin of nothing": {func(c *Case) { c.Kind = "twin"; verdict(c) }, twin},
		"not a twin":      {func(c *Case) { c.TwinOf = "x"; verdict(c) }, twin},
	} {
		c, both := Case{Kind: "a", Why: "b"}, Case{Kind: "a", Why: "b"}
		tt.set(&c)
		verdict(&both)
		tt.set(&both)
		for _, c := range []Case{c, both} {
			want := tt.want
			if want == nothing && len(c.Verdict) > 0 {
				want = ""
			}
			if err := c.complete(); (err == nil) != (want == "") || err != nil && err.Error() != want {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

// TestLoad reads two cases, and says of which file it cannot read what is wrong.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "case.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b", "kind: k\nwhy: w\nverdict: [reject]\n")
	write("a", "kind: k\nwhy: w\nrun: tool\n")
	t.Chdir(dir)
	cases, err := Load(".")
	if err != nil || len(cases) != 2 || cases[0].Name != "a" || cases[0].Dir != filepath.Join(dir, "a") || cases[1].Name != "b" || cases[1].Verdict[0] != "reject" {
		t.Errorf("%v, %+v", err, cases)
	}
	write("[", "kind: k\nwhy: w\nrun: tool\n")
	if _, err := Load("["); err == nil || err.Error() != "field: syntax error in pattern" {
		t.Errorf("a folder that is no pattern: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "c", "case.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Load("."); err == nil || !strings.HasPrefix(err.Error(), "field: read "+filepath.Join(dir, "c", "case.yaml")) {
		t.Errorf("a folder in place of the file: %v", err)
	}
}

// TestLoadRefuses checks that Load refuses a case that requires nothing or has a misspelt key. Such
// a case could never fail.
func TestLoadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown field \"verdikt\"": "kind: a\nwhy: b\nverdikt: [reject]\n",
		"something that is wanted":  "kind: a\nwhy: b\n",
		"needs kind and why":        "kind: a\nverdict: [reject]\n",
		"what it is the twin of":    "kind: twin\nwhy: b\nverdict: [reject]\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "case"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "case", "case.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "case", "case.yaml")
			if _, err := Load(dir); err == nil || !strings.HasPrefix(err.Error(), "field: "+file+": ") || !strings.Contains(err.Error(), name) {
				t.Errorf("%v, want %s", err, name)
			}
		})
	}
}
