package field

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestJudge checks that every kind of requirement in a case can fail.
func TestJudge(t *testing.T) {
	const raw = `{"verdict":{"verdict":"tag","reply":{}},"authentication_results":"mx;\r\n spf=pass","evaluation":{"n":3,"list":[],"dkim":[{"result":"fail"}]}}`
	for name, tt := range map[string]struct {
		c     Case
		wrong string // a part of the only complaint, "" for no complaint
	}{
		"verdict":             {Case{Verdict: []string{"accept", "tag"}}, ""},
		"other verdict":       {Case{Verdict: []string{"reject"}}, `verdict.verdict is "tag"`},
		"a verdict is whole":  {Case{Verdict: []string{"ta"}}, "verdict.verdict"},
		"label":               {Case{LabelContains: []string{"mx; spf=pass"}}, ""},
		"label lacks":         {Case{LabelContains: []string{"dkim="}}, "the label lacks"},
		"label has":           {Case{LabelLacks: []string{"spf="}}, "the label has"},
		"output":              {Case{OutputContains: []string{"for a person"}}, ""},
		"output lacks":        {Case{OutputContains: []string{"nothing"}}, "the output lacks"},
		"output has":          {Case{OutputLacks: []string{"person"}}, "the output has"},
		"no reply":            {Case{ReplyContains: []string{"From"}}, "the reply lacks"},
		"json":                {Case{JSON: map[string][]string{"evaluation.n": {"3"}, "evaluation.list": {"absent", "[]"}}}, ""},
		"json differs":        {Case{JSON: map[string][]string{"evaluation.n": {"4"}}}, `evaluation.n is "3"`},
		"an element":          {Case{JSON: map[string][]string{"evaluation.dkim.0.result": {"fail"}, "evaluation.dkim.1.result": {"absent"}}}, ""},
		"absent":              {Case{JSON: map[string][]string{"verdict.reply": {"absent"}, "a.b": {"absent"}}}, ""},
		"present, not absent": {Case{JSON: map[string][]string{"evaluation.n": {"absent"}}}, "evaluation.n"},
	} {
		t.Run(name, func(t *testing.T) {
			wrong := strings.Join(tt.c.Judge("for a person", []byte(raw)), "\n")
			if (tt.wrong == "") != (wrong == "") || !strings.Contains(wrong, tt.wrong) {
				t.Errorf("got %q, want %q", wrong, tt.wrong)
			}
		})
	}
}

// TestLoadRefuses checks that Load refuses a case that requires nothing or has a misspelt key. Such
// a case could never fail.
func TestLoadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"a key that is not known": "kind: a\nwhy: b\nverdikt: [reject]\n",
		"nothing wanted":          "kind: a\nwhy: b\n",
		"no reason":               "kind: a\nverdict: [reject]\n",
		"a twin of nothing":       "kind: twin\nwhy: b\nverdict: [reject]\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "case"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "case", "case.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(dir); err == nil {
				t.Error("the case was taken")
			}
		})
	}
}
