//go:build linux

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestIsSuffix(t *testing.T) {
	for _, tt := range []struct {
		path, suffix string
		want         bool
	}{
		{"internal/spf/a.go", "internal/spf/a.go", true}, {"internal/spf/a.go", "spf/a.go", true}, {"internal/spf/a.go", "./spf/a.go", true},
		{"internal/spf/a.go", "a.go", true}, {"internal/xspf/a.go", "spf/a.go", false}, {"internal/spf/a.go", "b.go", false},
	} {
		if got := isSuffix(tt.path, tt.suffix); got != tt.want {
			t.Errorf("%s, %s: %v", tt.path, tt.suffix, got)
		}
	}
}

func TestParseAt(t *testing.T) {
	for text, want := range map[string][]place{
		"": nil, "a.go:3": {{"a.go", 3}}, "a.go:3,spf/b.go:4 c.go:5": {{"a.go", 3}, {"spf/b.go", 4}, {"c.go", 5}},
	} {
		at, err := parseAt(text)
		if err != nil || !reflect.DeepEqual(at, want) {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
	for _, text := range []string{"a.go", "a.go:x", "a.go:3,b.go"} {
		if at, err := parseAt(text); err == nil || at != nil {
			t.Errorf("%q: %v", text, at)
		}
	}
	at := []place{{"spf/a.go", 3}}
	for line, want := range map[int]bool{3: true, 4: false} {
		if got := wantedAt(at, "internal/spf/a.go", line); got != want {
			t.Errorf("line %d: %v", line, got)
		}
	}
	if wantedAt(at, "internal/spf/b.go", 3) {
		t.Error("another file is wanted")
	}
}

func TestPattern(t *testing.T) {
	root := write(t, map[string]string{"internal/spf/a.go": "", "cmd/x/a.go": "", "internal/file": ""})
	for p, want := range map[string]string{
		"spf": "./internal/spf", "spf/...": "./internal/spf/...", "cmd/x": "./cmd/x", "./spf": "./spf", "/spf": "/spf", "none": "none", "file": "file",
	} {
		if got := pattern(root, p); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}

// TestKnownBy checks which mutants a line of the known file means.
func TestKnownBy(t *testing.T) {
	long := strings.Repeat("x", 120)
	for _, tt := range []struct {
		line string
		m    Mutant
		want string
	}{
		{"a.go  text  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 1}, "reason"},
		{"a.go\ttext\treason  with two spaces", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 1}, "reason  with two spaces"},
		{"a.go:f  text  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 2}, "reason"},
		{"a.go:g  text  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 1}, ""},
		{"a.go:17  text  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 1}, "reason"},
		{"a.go:f#2  text  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 2}, "reason"},
		{"a.go:f#2  text  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 1}, ""},
		{"b.go  text  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 1}, ""},
		{"a.go  other  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text", Nth: 1}, ""},
		{"a.go  text; under: if x  reason", Mutant{File: "spf/a.go", Change: "text", Context: "under: if x"}, "reason"},
		{"a.go  text; under: if y  reason", Mutant{File: "spf/a.go", Change: "text", Context: "under: if x"}, ""},
		{"a.go  text; " + long + "  reason", Mutant{File: "spf/a.go", Change: "text", Context: long}, "reason"},
		{"a.go  text; " + long[:107] + "...  reason", Mutant{File: "spf/a.go", Change: "text", Context: long}, "reason"},
		{"# a.go  text  reason", Mutant{File: "spf/a.go", Change: "text"}, ""},
		{"  a.go  text  reason  ", Mutant{File: "spf/a.go", Change: "text"}, "reason"},
		{"a.go:12a  text  reason", Mutant{File: "spf/a.go", Func: "f", Change: "text"}, ""},
		{"a.go:f  text  one\na.go:f  text  two", Mutant{File: "spf/a.go", Func: "f", Change: "text"}, "one"},
		{"a.go:g  text  one\na.go:f  text  two", Mutant{File: "spf/a.go", Func: "f", Change: "text"}, "two"},
	} {
		name := filepath.Join(t.TempDir(), "known")
		if err := os.WriteFile(name, []byte("\n"+tt.line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		ks, err := readKnown(name)
		if got := tt.m.knownBy(ks); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.line, got, err, tt.want)
		}
	}
}

// TestKnownRefused checks that a line which cannot be understood is an error with its number.
func TestKnownRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "known")
	for text, line := range map[string]string{"a.go  text": ":1", "# a\n\na.go  text  reason\na.go text reason": ":4", "x": ":1"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		want := name + line + ": want FILE[:FUNC[#N]]  TEXT  REASON, two spaces or a tab between them"
		if ks, err := readKnown(name); ks != nil || err == nil || err.Error() != want {
			t.Errorf("%q: %v, %v", text, ks, err)
		}
	}
	if ks, err := readKnown(""); ks != nil || err != nil {
		t.Errorf("without a file: %v, %v", ks, err)
	}
	if ks, err := readKnown(name + ".none"); ks != nil || !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v, %v", ks, err)
	}
}
