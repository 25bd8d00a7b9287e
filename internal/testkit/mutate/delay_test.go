//go:build linux

package main

import (
	"context"
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// late is a module whose goroutines begin in each of the ways that the tool knows.
var late = map[string]string{
	"go.mod": "module example\n\ngo 1.25\n",
	"internal/bell/bell.go": `package bell

import (
	"sync"
	"sync/atomic"
	"time"
)

type Bell struct {
	Rung  atomic.Int64
	works sync.WaitGroup
}

func (b *Bell) ring(times ...int64) {
	for _, n := range times {
		b.Rung.Add(n)
	}
}

// Ring rings four times in the background, unless it is night.
func (b *Bell) Ring(night bool) {
	if night {
		return
	}
	go func(n int64) { b.ring(n) }(1)
	go b.ring(1)
	b.works.Go(func() { b.ring(1) })
	time.AfterFunc(0, func() { b.ring(1) })
}
`,
	"internal/bell/bell_test.go": `package bell

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestHasty(t *testing.T) {
	var b Bell
	b.Ring(false)
	time.Sleep(10 * time.Millisecond)
	if n := b.Rung.Load(); n != 4 {
		t.Error("rung", n)
	}
}

func TestSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bell
		start := time.Now()
		b.Ring(false)
		time.Sleep(1)
		synctest.Wait()
		if n, took := b.Rung.Load(), time.Since(start); n != 4 || took != 1 {
			t.Error("rung", n, took)
		}
	})
}

func TestNightHasty(t *testing.T) {
	var b Bell
	b.Ring(true)
	if n := b.Rung.Load(); n != 0 {
		t.Error("rung", n)
	}
}

func TestNightSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bell
		b.Ring(true)
		synctest.Wait()
		if n := b.Rung.Load(); n != 0 {
			t.Error("rung", n)
		}
	})
}
`,
}

// testDelays checks that delays show a test that counts on quick goroutines, and a test of absence that looks too early, and no other.
func testDelays(t *testing.T) {
	dir := write(t, late)
	for name, c := range map[string]struct {
		args    string
		status  int
		has, no string
	}{
		"counts on quick goroutines": {"--delay 100ms bell", 1, "internal/bell: TestHasty: ", "Steady"},
		"waits for them":             {"--delay 100ms --run Steady bell", 0, "4 places where a goroutine begins, 0 of 5 runs failed", "TestSteady"},
		"looks too early":            {"--delay 100ms --run TestNightHasty --at bell/bell.go:23 --strict bell", 1, "removed: return; under: if night  (noticed in ", ""},
		"looks in time":              {"--delay 100ms --run TestNightSteady --at bell/bell.go:23 --strict bell", 0, "1 killed", "survived ("},
		"negative":                   {"--delay -1s bell", 2, "--delay", ""},
	} {
		_, out, status := mutate(t, dir, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out, c.has) || (c.no != "" && strings.Contains(out, c.no)) {
			t.Errorf("%s: status %d, want %d, with %q, without %q\n%s", name, status, c.status, c.has, c.no, out)
		}
	}
}

// TestDelaysOf checks where goroutines begin, and what is written there.
func TestDelaysOf(t *testing.T) {
	for code, want := range map[string]string{
		"go f()":                          "go zmut.Late(8, f)()",
		"go b.f(1)":                       "go zmut.Late(8, b.f)(1)",
		"go func() { f() }()":             "go func() { zmut.Delay(8); f() }()",
		"w.Go(f)":                         "w.Go(zmut.Late(8, f))",
		"w.Go(func() {})":                 "w.Go(func() { zmut.Delay(8);})",
		"time.AfterFunc(1, f)":            "time.AfterFunc(1, zmut.Late(8, f))",
		"w.Go()":                          "w.Go()",
		"Go(f)":                           "Go(f)",
		"w.Do(f)":                         "w.Do(f)",
		"f()":                             "f()",
		"go func() { go f(); w.Go(g) }()": "go func() { zmut.Delay(8); go zmut.Late(9, f)(); w.Go(zmut.Late(10, g)) }()",
	} {
		text := "package p\n\nfunc x() { " + code + " }\n"
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "p.go", text, 0)
		if err != nil {
			t.Fatal(err)
		}
		n := 7
		cs := delaysOf(fset, file, &n)
		got := strings.TrimSuffix(strings.TrimPrefix(emitRange([]byte(text), cs, 0, len(text)), "package p\n\nfunc x() { "), " }\n")
		if got != want || n != 7+len(cs) {
			t.Errorf("%s: %s, want %s, %d", code, got, want, n)
		}
		for _, c := range cs {
			if c.depth != -1 {
				t.Errorf("%s: a mutant of the same place would be outside: %d", code, c.depth)
			}
		}
	}
}

// TestDelayed checks of which files the delays are, and that an error is not lost.
func TestDelayed(t *testing.T) {
	dir := write(t, map[string]string{"a.go": "package p\n\nfunc f() { go f() }\n", "b.go": "package p\n\nfunc g() { go g() }\n", "c.go": "no package"})
	p := listed{Dir: dir, GoFiles: []string{"a.go"}}
	both := listed{Dir: dir, GoFiles: []string{"a.go", "b.go"}}
	got, err := delayed(p, []listed{both, p})
	if a, b := got[filepath.Join(dir, "a.go")], got[filepath.Join(dir, "b.go")]; err != nil || len(got) != 2 || len(a) != 1 || len(b) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	if text := got[filepath.Join(dir, "b.go")][0].render(func(int, int) string { return "g" }, ""); text != "zmut.Late(2, g)" {
		t.Error(text)
	}
	for name, want := range map[string]string{"c.go": "expected 'package'", "d.go": "d.go: no such file"} {
		if got, err := delayed(p, []listed{{Dir: dir, GoFiles: []string{name}}}); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestUnsteady checks how the failed runs of the unchanged tests are told.
func TestUnsteady(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	set(t, runs, 4)
	set(t, seed, 5)
	for _, tt := range []struct {
		script, output string
		want, kept     string
		err            string
	}{
		{"exit 0", file, "p: 3 places where a goroutine begins, 0 of 4 runs failed, TIME\n", "", ""},
		{`case $ZMUT_SEED in
6) echo '--- FAIL: TestA (0.00s)'; echo '    --- FAIL: TestA/b (0.00s)' ;;
7) echo 'panic: no'; echo '--- FAIL: TestA (0.00s)' ;;
8) echo just this; echo x >../x ;;
*) exit 0 ;;
esac
exit 1`, file, `p: TestA: 2 of 4 runs
p: TestA/b: 1 of 4 runs
p: panic: no: 1 of 4 runs
p: just this: 1 of 4 runs
p: 3 places where a goroutine begins, 3 of 4 runs failed, TIME
`, "just this\n", errDelayed.Error()},
		{"exit 1", "", "p: : 4 of 4 runs\np: 3 places where a goroutine begins, 4 of 4 runs failed, TIME\n", "", errDelayed.Error()},
		{"exit 1", file + "/none", "", "", "open " + file + "/none: not a directory"},
	} {
		set(t, outputFile, tt.output)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		x := newTester(t, tt.script)
		x.places = 3
		r, out := &Report{Package: "p"}, &strings.Builder{}
		err := r.unsteady(t.Context(), x, out)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
			t.Errorf("%s: %v", tt.script, err)
		}
		b, _ := os.ReadFile(file)
		if got := regexp.MustCompile(`\d+\.\d s\b`).ReplaceAllString(out.String(), "TIME"); got != tt.want || string(b) != tt.kept {
			t.Errorf("%s: %s, want %s, kept %q", tt.script, got, tt.want, b)
		}
		if tt.want != "" && r.Seconds <= 0 {
			t.Errorf("%s: %v seconds", tt.script, r.Seconds)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := &strings.Builder{}
	if err := (&Report{}).unsteady(ctx, newTester(t, "sleep 20"), out); !errors.Is(err, context.Canceled) || out.String() != "" {
		t.Errorf("%v, %s", err, out)
	}
}
