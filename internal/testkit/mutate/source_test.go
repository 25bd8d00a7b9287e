//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestChoose checks that the choice depends on the seed and on what a mutant changes, and which of them can be chosen.
func TestChoose(t *testing.T) {
	files := packages()
	const file = "untested/untested.go"
	s := loadPackage(t, write(t, files), "./untested")
	files[file] = strings.Replace(files[file], "package untested", "package untested\n\nfunc Other(n int) bool { return n < 1 }", 1)
	edited := loadPackage(t, write(t, files), "./untested")
	for _, tt := range []struct {
		seed    int64
		n       int
		only    map[string]bool
		at      []place
		dropped string
		want    string
	}{
		{1, 70, nil, nil, "", "> to >=: n > 3|3 plus one|removed: return red|red to green|blue to red"},
		{1, 70, nil, nil, file + ":102:107:boundary:> to >=: n > 3", "condition always true: n > 3|3 plus one|removed: return red|red to green|blue to red"},
		{1, 2, nil, nil, "", "removed: return red|blue to red"},
		{2, 2, nil, nil, "", "removed: return red|blue to green"},
		{1, 70, verdictOps, nil, "", "> to >=: n > 3|removed: return red|red to green|blue to red"},
		{1, 70, map[string]bool{"const": true}, nil, "", "3 plus one"},
		{1, 1, map[string]bool{"const": true}, []place{{"untested.go", 13}}, "", "removed: return red|red to blue|red to green"},
		{1, 1, nil, []place{{"untested.go", 13}}, file + ":119:122:enum-swap:red to blue", "removed: return red|red to green"},
	} {
		chosen := s.choose(tt.seed, tt.n, tt.only, tt.at, map[string]bool{tt.dropped: true})
		var got []string
		for i, c := range chosen {
			if c.ID != i+1 {
				t.Errorf("number %d of %d", c.ID, i)
			}
			got = append(got, c.Change)
		}
		if got := strings.Join(got, "|"); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
		if tt.n < 70 || tt.dropped != "" {
			continue
		}
		got = nil
		for _, c := range edited.choose(tt.seed, tt.n, tt.only, tt.at, nil) {
			if c.Func == "Kind" {
				got = append(got, c.Change)
			}
		}
		if got := strings.Join(got, "|"); got != tt.want {
			t.Errorf("%+v, after an edit elsewhere: %s", tt, got)
		}
	}
}

// TestChosen pins a choice, because with another one CI would judge other mutants.
func TestChosen(t *testing.T) {
	var got []string
	for _, c := range loadPackage(t, many(t), ".").choose(5, 16, nil, nil, nil) {
		got = append(got, fmt.Sprint(c.File, ":", c.Line, " ", c.Op))
	}
	want := []string{
		"dotted.go:9 cond-true", "flow.go:25 const", "flow.go:48 const", "flow.go:59 drop-stmt", "flow.go:115 cond-false", "flow.go:125 cond-false",
		"flow.go:152 boundary", "p.go:41 cond-true", "plain.go:8 drop-stmt", "plain.go:23 const", "values.go:23 enum-swap", "values.go:39 drop-stmt", "values.go:39 arith",
		"values.go:43 const", "values.go:50 arith", "values.go:64 boundary",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for seed, want := range map[int64]string{4: "0.07655179023021624 11388465284160698252", -1: "0.8311501737407447 7981222186511686442"} {
		u, n := draw(seed, "f", "const", "1 plus one")
		if got := fmt.Sprint(u, " ", n); got != want {
			t.Errorf("%d: %s, want %s", seed, got, want)
		}
	}
}

func TestBefore(t *testing.T) {
	c := func(start, end, depth int) *candidate {
		return &candidate{Mutant: Mutant{Start: start, End: end}, depth: depth}
	}
	order := []*candidate{c(1, 9, 1), c(2, 9, 0), c(2, 8, 0), c(2, 8, 1), c(3, 4, 0), c(5, 7, 0)}
	for i, a := range order {
		for j, b := range order {
			if got := before(a, b); got != (i < j) {
				t.Errorf("%d, %d: %v", i, j, got)
			}
		}
	}
}

// TestEmitRange checks changes beside and within each other.
func TestEmitRange(t *testing.T) {
	c := func(id, start, end int) *candidate {
		x := &candidate{Mutant: Mutant{ID: id, Start: start, End: end}}
		x.render = func(emit emitter, id string) string { return "<" + id + emit(start, end) + ">" }
		return x
	}
	const text = "0123456789"
	for _, tt := range []struct {
		cs         []*candidate
		start, end int
		want       string
	}{
		{nil, 0, 10, text},
		{nil, 3, 5, "34"},
		{[]*candidate{c(1, 0, 10)}, 0, 10, "<10123456789>"},
		{[]*candidate{c(1, 2, 4), c(2, 4, 6)}, 0, 10, "01<123><245>6789"},
		{[]*candidate{c(1, 2, 8), c(2, 2, 8), c(3, 2, 4), c(4, 5, 8), c(5, 6, 7)}, 0, 10, "01<1<2<323>4<45<56>7>>>89"},
		{[]*candidate{c(1, 1, 3), c(2, 3, 5), c(3, 5, 7)}, 3, 5, "<234>"},
		{[]*candidate{c(1, 2, 5), c(2, 3, 6), c(3, 4, 5)}, 3, 5, "3<34>"},
	} {
		if got := emitRange([]byte(text), tt.cs, tt.start, tt.end); got != tt.want {
			t.Errorf("%d to %d: %s, want %s", tt.start, tt.end, got, tt.want)
		}
	}
}

// TestWrite checks the changed files and the overlay, and that an error is not lost.
func TestWrite(t *testing.T) {
	root := write(t, packages())
	s := loadPackage(t, root, "./untested")
	late := map[string][]*candidate{filepath.Join(root, "internal/toll/toll.go"): {}, filepath.Join(root, "internal/empty/empty.go"): {
		{Mutant: Mutant{Start: 15, End: 20}, render: func(emit emitter, _ string) string { return "/*late*/" + emit(15, 20) }},
	}}
	chosen := s.choose(1, 70, nil, []place{{"untested.go", 15}}, nil)
	dir := t.TempDir()
	overlay, written, err := s.write(dir, chosen[:1], late)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"internal/empty/empty.go": filepath.Join(dir, "f0_empty.go"), "untested/untested.go": filepath.Join(dir, "f2_untested.go")}
	if !reflect.DeepEqual(written, want) {
		t.Errorf("%v, want %v", written, want)
	}
	if len(late) != 2 {
		t.Errorf("the delays of other packages became %v", late)
	}
	var replace struct{ Replace map[string]string }
	b, err := os.ReadFile(overlay)
	if err == nil {
		err = json.Unmarshal(b, &replace)
	}
	full := map[string]string{filepath.Join(root, "internal/zmut/zmut.go"): filepath.Join(dir, "zmut.go")}
	for name, to := range want {
		full[filepath.Join(root, name)] = to
	}
	if err != nil || !maps.Equal(replace.Replace, full) {
		t.Errorf("%v, %v, want %v", err, replace, full)
	}
	for name, text := range map[string]string{
		"f0_empty.go":    "package empty; import zmut \"example/internal/zmut\"\n\n/*late*/const One = 1\n",
		"f2_untested.go": strings.NewReplacer("package untested", "package untested; import zmut \"example/internal/zmut\"", "return blue", "return zmut.Pick[kind](1, blue, green)").Replace(packages()["untested/untested.go"]),
		"zmut.go":        zmutSource,
	} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != text {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, b, text)
		}
	}
	// Each folder lacks room for one of the files.
	for _, name := range []string{"f2_untested.go", "zmut.go", "overlay.json"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.write(dir, chosen[:1], late); err == nil || !strings.Contains(err.Error(), name+": is a directory") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := (&source{root: ".", pkg: s.pkg}).write(t.TempDir(), nil, late); err == nil || !strings.HasPrefix(err.Error(), "Rel: ") {
		t.Errorf("a root that is no full path: %v", err)
	}
	untested := filepath.Join(root, "untested/untested.go")
	for _, damage := range []struct {
		do   func() error
		want string
	}{
		{func() error { return os.WriteFile(untested, []byte("no package"), 0o600) }, "untested.go:1:1: expected 'package'"},
		{func() error { return os.Remove(untested) }, "untested.go: no such file"},
	} {
		if err := damage.do(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.write(dir, chosen[:1], nil); err == nil || !strings.Contains(err.Error(), damage.want) {
			t.Errorf("%v, want %s", err, damage.want)
		}
	}
}

// TestLoadFails checks what is told of a package that cannot be judged.
func TestLoadFails(t *testing.T) {
	root := write(t, map[string]string{
		"go.mod": "module example\n\ngo 1.20\n", "a/a.go": "package a\n\nfunc F() {\n\tfor i := range 3 {\n\t\t_ = i\n\t}\n}\n",
		"b/b.go": "package b\n\nfunc {\n", "c/c.go": "package c\n\nimport \"fmt\"\n\nvar X = fmt.Sprint(1)\n", "d/d.go": "package d\n\nvar X int = 1\n",
	})
	d := listed{Dir: filepath.Join(root, "d"), GoFiles: []string{"d.go"}}
	if err := json.Unmarshal([]byte("{}"), &d.Module); err != nil {
		t.Fatal(err)
	}
	if s, err := load(".", d, nil); s != nil || err == nil || !strings.HasPrefix(err.Error(), "Rel: ") {
		t.Errorf("a root that is no full path: %v", err)
	}
	for _, tt := range []struct {
		name, version string
		cgo           []string
		exports       map[string]string
		want          string
	}{
		{"a", "", nil, nil, ""},
		{"a", "1.22", nil, nil, ""},
		{"a", "1.20", nil, nil, "requires go1.22"},
		{"b", "", nil, nil, "b.go:3:6: expected"},
		{"c", "", nil, nil, "no export data of fmt"},
		{"c", "", nil, map[string]string{"fmt": root + "/none"}, "none: no such file"},
		{"d", "", nil, nil, ""},
		{"d", "", []string{"c.go"}, nil, "it uses cgo, which this tool cannot change"},
		{"none", "", nil, nil, "none.go: no such file"},
	} {
		l := listed{Dir: filepath.Join(root, tt.name), ImportPath: "example/" + tt.name, GoFiles: []string{tt.name + ".go"}, CgoFiles: tt.cgo}
		if err := json.Unmarshal(fmt.Appendf(nil, `{"Path": "example", "GoVersion": %q}`, tt.version), &l.Module); err != nil {
			t.Fatal(err)
		}
		s, err := load(root, l, tt.exports)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || (s == nil) != (err != nil) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestList checks which packages are wanted, and which are of the same module.
func TestList(t *testing.T) {
	root := write(t, map[string]string{
		"go.mod": "module example\n\ngo 1.24\n", "a/a.go": "package a\n\nimport (\n\t\"example/b\"\n\t\"fmt\"\n)\n\nvar X = fmt.Sprint(b.X)\n",
		"b/b.go": "package b\n\nvar X = 1\n", "b/b_test.go": "package b\n", "b/x_test.go": "package b_test\n",
	})
	wanted, own, exports, err := list(root, []string{"./a", "fmt"})
	names := func(ls []listed) (out []string) {
		for _, l := range ls {
			out = append(out, strings.Join(slices.Concat([]string{l.ImportPath}, l.GoFiles, l.TestGoFiles, l.XTestGoFiles), " "))
		}
		return out
	}
	if got := names(wanted); err != nil || !slices.Equal(got, []string{"example/a a.go"}) {
		t.Errorf("wanted %v, %v", got, err)
	}
	if got := names(own); !slices.Equal(got, []string{"example/b b.go b_test.go x_test.go", "example/a a.go"}) {
		t.Errorf("own %v", got)
	}
	if exports["fmt"] == "" || exports["example/b"] == "" {
		t.Errorf("exports %v", exports)
	}
	if _, _, _, err := list(root, []string{"./none"}); err == nil || !strings.Contains(err.Error(), "go list: exit status 1\n") || !strings.Contains(err.Error(), "none: directory not found") {
		t.Error(err)
	}
}
