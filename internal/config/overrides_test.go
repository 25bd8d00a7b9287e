package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/config/strict"
	"sekimori/internal/dmarc"
	"sekimori/internal/policy"
	"sekimori/internal/trait"
)

// overrides returns the text of a configuration with the given items of
// policy.overrides.
func overrides(items ...string) string {
	return "policy:\n  overrides:\n    - " + strings.Join(items, "\n    - ") + "\n"
}

// TestBadRules checks that mistakes in a rule are reported with line and
// column.
func TestBadRules(t *testing.T) {
	const when = "when: {client: [192.0.2.0/24]}"
	for _, c := range []struct{ reason, item, want string }{
		{"unknown field", "{id: a, " + when + ", then: accept, who: x}", `3:61: policy.overrides[0]: unknown key "who"; known here: file, id,`},
		{"unknown condition", "{id: a, when: {list_id: [x]}, then: accept}",
			`3:22: policy.overrides[0].when: unknown key "list_id"; known here: client, client_name, dkim,`},
		{"no id", "{" + when + ", then: accept}", `3:7: policy.overrides[0].id: "" is not an id`},
		{"an id that does not fit a comment", "{id: 'a b', " + when + ", then: accept}", `3:12: policy.overrides[0].id: "a b" is not an id`},
		{"no outcome", "{id: a, " + when + "}", `3:7: policy.overrides[0].then: there is no outcome`},
		{"unknown outcome", "{id: a, " + when + ", then: drop}", `3:53: policy.overrides[0].then: "drop" is not known; write accept, tag, quarantine or reject`},
		{"unknown policy", "{id: a, " + when + ", then: {policy: accept}}",
			`3:62: policy.overrides[0].then.policy: "accept" is not known; write none, quarantine or reject`},
		{"two outcomes", "{id: a, " + when + ", then: {action: accept, policy: none}}", `3:53: policy.overrides[0].then: either an action or a policy`},
		{"no condition", "{id: a, then: reject}", `3:7: policy.overrides[0].when: rule a: has no condition`},
		{"an empty condition", "{id: a, when: {client: []}, then: reject}", `3:30: policy.overrides[0].when.client: an empty list can never match`},
		{"no network", "{id: a, when: {client: [x]}, then: accept}", `3:31: policy.overrides[0].when.client[0]: "x" is not a network`},
		{"no domain", "{id: a, when: {dkim: ['*.example.com']}, then: accept}",
			`3:29: policy.overrides[0].when.dkim[0]: "*.example.com" is not a domain; write example.com, or .example.com`},
		{"unknown trait", "{id: a, when: {traits: [lists]}, then: reject}", `3:31: policy.overrides[0].when.traits[0]: "lists" is not known; write author_spf_fail,`},
		{"unknown result", "{id: a, when: {dmarc: [neutral]}, then: reject}", `3:30: policy.overrides[0].when.dmarc[0]: "neutral" is not known`},
		{"unknown policy published", "{id: a, when: {published: ['']}, then: reject}",
			`3:34: policy.overrides[0].when.published[0]: "" is not known; write none, quarantine, reject or absent`},
		{"no date", "{id: a, expires: soon, " + when + ", then: accept}", `3:24: policy.overrides[0].expires: "soon" is not a date`},
		{"a day that is not", "{id: a, expires: 2027-02-30, " + when + ", then: accept}", `3:24: policy.overrides[0].expires: "2027-02-30" is not a date`},
		{"an id twice", "{id: a, " + when + ", then: accept}\n    - {id: a, when: {author: [b.example]}, then: reject}",
			`4:12: policy.overrides[1].id: "a" is the id of an earlier rule`},

		{"leniency by a list's fields", "{id: a, when: {traits: [list]}, then: accept}",
			`3:45: policy.overrides[0].then: rule a: "accept" needs evidence that a stranger cannot write`},
		{"leniency by the author's name", "{id: a, when: {author: [b.example]}, then: {policy: none}}",
			`3:50: policy.overrides[0].then: rule a: "{policy: none}" needs evidence`},
		{"a network that is everywhere", "{id: a, when: {client: [0.0.0.0/0]}, then: accept}",
			`3:30: policy.overrides[0].when.client: rule a: a network wider than /8`},
		{"reject by a temporary error", "{id: a, when: {dmarc: [temperror]}, then: reject}",
			`3:49: policy.overrides[0].then: rule a: rejects because of a temporary error`},
		{"conditions that exclude each other", "{id: a, when: {published: [absent], dmarc: [fail]}, then: reject}",
			`3:33: policy.overrides[0].when.published: rule a: can never match`},
		{"mail that is never evaluated", "{id: a, when: {client: [127.0.0.0/16]}, then: reject}",
			`3:30: policy.overrides[0].when.client: rule a can never match: mail of trusted.networks`},

		{"a file and more", "{file: /x, id: a}", `3:7: policy.overrides[0]: an item with a file has no other key`},
		{"ramp", "{id: a, " + when + ", then: accept}\n  ramp: {percent: 101}", `4:19: policy.ramp.percent: 101 is not between 0 and 100`},
		{"ramp of a domain", "{id: a, " + when + ", then: accept}\n  ramp: {domains: {b.example: -1}}", `4:31: policy.ramp.domains[b.example]: -1 is not between`},
		{"ramp of no domain", "{id: a, " + when + ", then: accept}\n  ramp: {domains: {b: 1}}", `4:20: policy.ramp.domains: "b" is not a domain`},
	} {
		_, err := Parse("x", []byte(overrides(c.item)))
		if err == nil || !strings.HasPrefix(err.Error(), "config: x:"+c.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.reason, err, c.want)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRules checks that the rules of a file are inserted in the place of the
// item that names the file.
func TestRules(t *testing.T) {
	file := write(t, "rules.yaml",
		"- {id: b, when: {dkim: [.lists.example]}, then: {policy: quarantine}}\n- id: c\n  expires: 2027-06-30\n  when:\n    author: [b.example]\n  then: reject\n")
	c,
		err := Parse("x",
		[]byte(overrides("{id: a, when: {client: [192.0.2.1], dmarc: [fail]}, then: accept}", "{file: "+file+"}", "{id: d, when: {traits: [srs]}, then: reject}")))
	if err != nil {
		t.Fatal(err)
	}
	set, err := c.Rules(LoadRules)
	if err != nil {
		t.Fatal(err)
	}
	want := []policy.Rule{
		{ID: "a", When: policy.Conditions{Client: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, DMARC: []dmarc.Result{dmarc.ResultFail}},
			Then: policy.Outcome{Action: policy.Accept}},
		{ID: "b", When: policy.Conditions{DKIM: []policy.Pattern{".lists.example"}}, Then: policy.Outcome{Policy: dmarc.PolicyQuarantine}},
		{ID: "c", Expires: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC), When: policy.Conditions{Author: []policy.Pattern{"b.example"}},
			Then: policy.Outcome{Action: policy.Reject}},
		{ID: "d", When: policy.Conditions{Traits: []trait.Trait{trait.SRS}}, Then: policy.Outcome{Action: policy.Reject}},
	}
	if !reflect.DeepEqual(set.Policy.Rules, want) {
		t.Errorf("got\n%+v\nwant\n%+v", set.Policy.Rules, want)
	}
	if err := set.Warnings(time.Date(2027, 6, 30, 23, 0, 0, 0, time.UTC)); err != nil {
		t.Error(err)
	}
}

// TestRuleFiles checks that problems in a file of rules are reported with the
// name of this file, and the line and column in it.
func TestRuleFiles(t *testing.T) {
	const good = "{id: a, when: {client: [192.0.2.1]}, then: accept}"
	for _, tt := range []struct{ why, file, want string }{
		{"nothing in it", "", ""},
		{"comments only", "# none today\n", ""},
		{"CRLF and a byte order mark", "\ufeff- " + strings.ReplaceAll(good, "id: a", "id: b") + "\r\n", ""},
		{"no list", "id: b\n", ":1:3: a mapping where there should be a list"},
		{"broken", "- {id: b\n", ":1:3: "},
		{"unknown field", "- {idd: b}\n", `:1:4: [0]: unknown key "idd"`},
		{"id of the main file", "\n- " + good + "\n", `:2:8: [0].id: "a" is the id of an earlier rule (x:3)`},
		{"no evidence", "- {id: b, when: {author: [b.example]}, then: accept}\n", ":1:46: [0].then: rule b: \"accept\" needs evidence"},
		{"a file in a file", "- {file: /etc/passwd}\n", ":1:10: [0].file: a file of rules names no further file"},
	} {
		file := write(t, "r.yaml", tt.file)
		c, err := Parse("x", []byte(overrides(good, "{file: "+file+"}")))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Rules(LoadRules)
		var ce *Error
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.why, err)
		case tt.want != "" && (!errors.As(err, &ce) || !strings.HasPrefix(err.Error(), "config: "+file+tt.want) || ce.Problems[0].Excerpt == ""):
			t.Errorf("%s: got %v\nwant %s", tt.why, err, tt.want)
		}
	}
}

// TestProblemsOfSeveralFiles checks that the error has the problems of all
// files of rules, each once.
func TestProblemsOfSeveralFiles(t *testing.T) {
	const good, bad = "- {id: %, when: {client: [192.0.2.1]}, then: accept}\n", "- {id: %, when: {author: [b.example]}, then: accept}\n"
	rules := func(text string, ids ...string) string {
		for _, id := range ids {
			text = strings.Replace(text, "%", id, 1)
		}
		return text
	}
	one := write(t, "one.yaml", rules(good+good+bad, "a", "b", "c"))
	two := write(t, "two.yaml", rules(bad+good+bad, "d", "e", "f"))
	c, err := Parse("x", []byte(overrides("{file: "+one+"}", "{file: "+two+"}")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Rules(LoadRules)
	var ce *Error
	if !errors.As(err, &ce) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{one + ":3:46: ", two + ":1:46: ", two + ":3:46: "} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("%s is not there once:\n%v", want, err)
		}
	}
}

func TestLoadRulesRefuses(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"/nonexistent/rules.yaml": fs.ErrNotExist, t.TempDir(): errIrregular, pipe: errIrregular} {
		var ce *Error
		if _, err := LoadRules(path); !errors.Is(err, want) || !errors.As(err, &ce) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := LoadRules(write(t, "huge", strings.Repeat("#", strict.MaxFile+1))); err == nil || !strings.Contains(err.Error(), "larger than 4MiB") {
		t.Errorf("huge: %v", err)
	}
}

func TestTooManyRules(t *testing.T) {
	for n, ok := range map[int]bool{maxRules: true, maxRules + 1: false} {
		c := Default()
		load := func(string) ([]Override, error) {
			items := make([]Override, n)
			for i := range items {
				author := Pattern(fmt.Sprintf("d%d.example", i))
				items[i] = Override{ID: fmt.Sprint("r", i), When: When{Author: []Pattern{author}}, Then: Then{Action: "reject"}}
			}
			return items, nil
		}
		c.Policy.Overrides = []Override{{File: "rules"}}
		set, err := c.Rules(load)
		if (err == nil) != ok {
			t.Errorf("%d rules: %v", n, err)
		}
		if err != nil {
			continue
		}
		if err := set.Warnings(time.Now()); err != nil {
			t.Errorf("%d rules: %v", n, err)
		}
	}
}

// TestLargestRuleFile reads as many rules as are allowed from one file. Each has all its notes.
func TestLargestRuleFile(t *testing.T) {
	var text strings.Builder
	for n := range maxRules {
		fmt.Fprintf(&text, "- {id: partner-%d, owner: postmaster, reason: \"forwards the mail of its members, ticket %d\", expires: 2031-12-31,\n"+
			"   when: {author: [.member%d.example.com], dkim: [lists%d.example.com]}, then: {policy: none}}\n", n, n, n, n)
	}
	begin := time.Now()
	items, err := LoadRules(write(t, "rules.yaml", text.String()))
	if err != nil || len(items) != maxRules {
		t.Fatalf("%d rules: %v", len(items), err)
	}
	read := time.Now()
	c := Default()
	c.Policy.Overrides = []Override{{File: "rules.yaml"}}
	set, err := c.Rules(func(string) ([]Override, error) { return items, nil })
	if err != nil {
		t.Fatal(err)
	}
	checked := time.Now()
	if err := set.Warnings(begin); err != nil {
		t.Error(err)
	}
	t.Logf("%d octets: read in %v, checked in %v, warned of in %v", text.Len(), read.Sub(begin), checked.Sub(read), time.Since(checked))
}

// TestWarnings checks that rules without effect are reported as warnings with
// line and column, and that they are not errors.
func TestWarnings(t *testing.T) {
	file := write(t, "rules.yaml", "- {id: late, when: {author: [a.b.example]}, then: {policy: reject}}\n")
	c, err := Parse("x", []byte(overrides(
		"{id: old, expires: 2026-01-31, when: {author: [old.example]}, then: reject}",
		"{id: wide, when: {author: [.b.example]}, then: reject}",
		"{id: after-old, when: {author: [old.example]}, then: reject}",
		"{file: "+file+"}")))
	if err != nil {
		t.Fatal(err)
	}
	set, err := c.Rules(LoadRules)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		why, now string
		want     []string // parts of the text; there must be one warning for each
	}{
		{"the last day", "2026-01-31T23:59:59Z", []string{"rule late"}},
		{"the day after", "2026-02-01T00:00:00Z", []string{
			"config: x:3:26: policy.overrides[0].expires: warning: rule old has expired: its last day was 2026-01-31\n",
			"config: " + file + ":1:3: [0]: warning: rule late never matches: rule wide before it (x:4) takes the same messages",
		}},
	} {
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		warning := set.Warnings(now)
		if warning == nil {
			t.Fatalf("%s: no warning", tt.why)
		}
		for _, want := range tt.want {
			if !strings.Contains(warning.Error(), want) {
				t.Errorf("%s: got %v\nwant %s", tt.why, warning, want)
			}
		}
		if n := strings.Count(warning.Error(), "warning:"); n != len(tt.want) {
			t.Errorf("%s: %d warnings:\n%v", tt.why, n, warning)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	for _, s := range []string{"", "- {id: a, when: {client: [192.0.2.1]}, then: accept}", "- file: x", "- when: [a]",
		"- then: {policy: none}", "- {expires: 2027-01-01}", "[{id: a}, ~]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := parseRules("r", data)
		if err != nil {
			var ce *Error
			if !errors.As(err, &ce) || len(ce.Problems) == 0 {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		c := Default()
		c.Policy.Overrides = []Override{{File: "r"}}
		set, err := c.Rules(func(string) ([]Override, error) { return rules, nil })
		if err == nil {
			_ = set.Warnings(time.Unix(0, 0))
		}
	})
}
