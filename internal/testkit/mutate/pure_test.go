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

// TestPlaces checks what is changed in each kind of statement, and what is left alone.
func TestPlaces(t *testing.T) {
	dir := write(t, map[string]string{"go.mod": "module example\n\ngo 1.24\n", "p.go": `package p

import (
	"sync"
	"testing"
)

type kind int

const (
	red kind = iota
	blue
)

func f(tb testing.TB, mu *sync.Mutex, a []int, x, y int) (kind, error) {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	z := x
	z++
	if x < y && a != nil {
		tb.Log(z)
	}
	for range a {
		continue
	}
	return red, nil
}

func g(c chan int, err error, words map[string]int) (bool, error) {
	defer close(c)
	defer println()
	switch {
	case !(len(c) > 100):
		c <- 2
	default:
		words["x"] = int(blue)
		return true, err
	}
	_ = words
	if err != nil {
		panic("x")
	}
	words["y"] -= len(words) * 70
	return false, nil
}
`})
	wanted, _, exports, err := list(dir, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	s, err := load(dir, wanted[0], exports)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.places {
		got = append(got, c.text())
	}
	want := []string{
		"removed: z++", "condition never true: x < y && a != nil", "condition always true: x < y && a != nil", "&& to ||: x < y && a != nil",
		"term dropped from &&: x < y; in: x < y && a != nil", "term dropped from &&: a != nil; in: x < y && a != nil", "< to <=: x < y",
		"negated: a != nil", "removed: tb.Log(z); under: if x < y && a != nil", "removed: continue; under: range a", "red to ; in: return red, nil",
		"removed: defer close(c)", "removed: defer println()", "case never true: !(len(c) > 100)", "case always true: !(len(c) > 100)",
		"! removed: !(len(c) > 100)", "> to >=: len(c) > 100", "100 doubled; in: len(c) > 100", "removed: c <- 2; under: case !(len(c) > 100)",
		"2 plus one; in: c <- 2", `removed: words["x"] = int(blue); under: default`, `int(blue) plus one; in: words["x"] = int(blue)`,
		"removed: return true, err; under: default", "opposite of true: return true, err; under: default", "error to nil: return true, err; under: default",
		"condition never true: err != nil", "condition always true: err != nil", "negated: err != nil",
		`removed: words["y"] -= len(words) * 70`, "* to /: len(words) * 70", "70 doubled; in: len(words) * 70", "opposite of false: return false, nil",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
