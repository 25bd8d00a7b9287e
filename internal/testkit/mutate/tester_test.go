//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newTester returns a tester whose compiled tests are a shell script.
func newTester(t *testing.T, script string) *tester {
	t.Helper()
	dir := write(t, map[string]string{"own.test": "#!/bin/sh\n" + script, "tmp/.keep": "", "pkg/.keep": ""})
	bin := filepath.Join(dir, "own.test")
	if err := os.Chmod(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	return &tester{dir: dir, pkgDir: filepath.Join(dir, "pkg"), bin: bin, memory: 1 << 40}
}

// set changes an option until the end of the test.
func set[T any](t *testing.T, option *T, to T) {
	t.Helper()
	was := *option
	*option = to
	t.Cleanup(func() { *option = was })
}

// TestOnce checks how the tests are run, and each way in which a run can end.
func TestOnce(t *testing.T) {
	const told = `echo "$@"; echo "$PWD $ZMUT $ZMUT_COV $ZMUT_DELAY $ZMUT_SEED"; stat -c %a "$TMPDIR"; cd "$TMPDIR/.."; pwd; touch "$TMPDIR/left"`
	for _, tt := range []struct {
		script          string
		id              int
		limit           time.Duration
		what, why, told string
	}{
		{told, 0, time.Minute, "survived", "", "-test.failfast=false -test.run TestX -test.timeout 1m5s\nDIR/pkg 0 cov 2000000 9\n711\nDIR/tmp\n"},
		{told, 3, time.Hour, "survived", "", "-test.failfast=true -test.run TestX -test.timeout 1h0m5s\nDIR/pkg 3 cov 2000000 9\n711\nDIR/tmp\n"},
		{"echo a; echo '  --- FAIL: TestY (0.00s) ' >&2; echo --- FAIL: TestZ; exit 1", 1, time.Minute, "killed", "--- FAIL: TestY (0.00s)", "a\n  --- FAIL: TestY (0.00s) \n--- FAIL: TestZ\n"},
		{"kill -9 $$", 1, time.Minute, "killed", "", ""},
		{"exec sleep 20", 1, 60 * time.Millisecond, "limit", "time", ""},
		{"sleep 20 & exit 0", 1, time.Minute, "survived", "", ""},
	} {
		t.Run(tt.script, func(t *testing.T) {
			x := newTester(t, tt.script)
			set(t, runFlag, "TestX")
			set(t, delay, 2*time.Millisecond)
			o := x.once(t.Context(), tt.id, "cov", tt.limit, 9)
			if output := strings.ReplaceAll(o.output, x.dir, "DIR"); o.what != tt.what || o.why != tt.why || output != tt.told {
				t.Errorf("%+v", o)
			}
			if o.took <= 0 || o.took > 15*time.Second {
				t.Errorf("took %v", o.took)
			}
			if left, err := os.ReadDir(filepath.Join(x.dir, "tmp")); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	x := newTester(t, "exec sleep 20")
	x.memory = 1
	if o := x.once(t.Context(), 1, "", time.Minute, 1); o.what != "limit" || o.why != "memory" {
		t.Errorf("%+v", o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := newTester(t, "exec sleep 20").once(ctx, 1, "", time.Minute, 1); o.what != "limit" || o.why != "interrupted" {
		t.Errorf("%+v", o)
	}
	x = newTester(t, "")
	x.bin += ".none"
	if o := x.once(t.Context(), 1, "", time.Minute, 1); o.what != "error" || !strings.Contains(o.why, "own.test.none: no such file") {
		t.Errorf("%+v", o)
	}
	x.dir += "/none"
	if o := x.once(t.Context(), 1, "", time.Minute, 1); o.what != "error" || !strings.Contains(o.why, "none/tmp") {
		t.Errorf("%+v", o)
	}
}

// TestOnceEndsAll checks that a process which the tests left running ends with them.
func TestOnceEndsAll(t *testing.T) {
	x := newTester(t, "sleep 20 >pipe 2>&1 & echo $$")
	if err := syscall.Mkfifo(filepath.Join(x.pkgDir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := os.ReadFile(filepath.Join(x.pkgDir, "pipe")) // ends when nobody has it open to write
		ended <- err
	}()
	if o := x.once(t.Context(), 1, "", time.Minute, 1); o.what != "survived" {
		t.Errorf("%+v", o)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the process goes on")
	}
}

func TestResident(t *testing.T) {
	if got := resident(os.Getpid()); got < 1<<20 || got > 1<<33 {
		t.Errorf("%d octets", got)
	}
	if got := resident(-1); got != 0 {
		t.Errorf("%d octets of no process", got)
	}
}

// TestHead checks what is kept of the output, and which line of it is told.
func TestHead(t *testing.T) {
	h := &head{}
	for _, n := range []int{64<<10 - 2, 1, 3, 5} {
		if got, err := h.Write(bytes.Repeat([]byte{'x'}, n)); got != n || err != nil {
			t.Errorf("%d of %d, %v", got, n, err)
		}
	}
	if got := len(h.String()); got != 64<<10 {
		t.Errorf("%d octets kept", got)
	}
	for text, want := range map[string]string{
		"":                                   "",
		"a\n b \n\n":                         "b",
		"a\n  --- FAIL: T (1 s)\nb":          "--- FAIL: T (1 s)",
		"a\npanic: b\n--- FAIL: T":           "panic: b",
		"a\nfatal error: c\nb":               "fatal error: c",
		"panic: " + strings.Repeat("x", 120): "panic: " + strings.Repeat("x", 100) + "...",
		strings.Repeat("x", 111):             strings.Repeat("x", 107) + "...",
		strings.Repeat("x", 110):             strings.Repeat("x", 110),
		strings.Repeat("x", 106) + "ééé":     strings.Repeat("x", 106) + "...",
	} {
		h := &head{b: []byte(text)}
		if got := h.firstFailure(); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestBase checks how often the unchanged tests run, what is measured, and that a failure in the last run counts.
func TestBase(t *testing.T) {
	x := newTester(t, `echo x >>../runs; printf b | dd of="$ZMUT_COV" bs=1 seek=5 conv=notrunc 2>/dev/null; test $ZMUT = 0`)
	reached, err := x.base(t.Context())
	want := make([]byte, idSpace)
	want[5] = 'b'
	if err != nil || !bytes.Equal(reached, want) || x.took <= 0 {
		t.Errorf("%v, %d octets, %v", err, len(reached), x.took)
	}
	if b, _ := os.ReadFile(filepath.Join(x.dir, "runs")); string(b) != "x\nx\nx\n" {
		t.Errorf("runs: %q", b)
	}
	x = newTester(t, `echo x >>../runs; test $(wc -l <../runs) -lt 3`)
	if _, err := x.base(t.Context()); err == nil || err.Error() != "its tests fail without any change: " {
		t.Error(err)
	}
	x.dir += "/none"
	if _, err := x.base(t.Context()); err == nil || !strings.Contains(err.Error(), "none/reached") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newTester(t, "sleep 20").base(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestJudge checks how often a mutant is tried, and what becomes of it.
func TestJudge(t *testing.T) {
	script := `echo $ZMUT $ZMUT_SEED >>../runs; tries=$(grep -c "^$ZMUT " ../runs)
case $ZMUT in
1) exit 0 ;;
2) echo --- FAIL: first; exit 1 ;;
3) test $tries = 1 || { echo --- FAIL: second; exit 1; } ;;
4) test $tries != 3 || exit 0; echo --- FAIL: not always; exit 1 ;;
6) sleep 20 ;;
esac`
	set(t, jobs, 1)
	set(t, seed, 7)
	set(t, runs, 3)
	for _, tt := range []struct {
		late bool
		want string
		runs string
	}{
		{false, `1 survived "" 0, 2 killed "--- FAIL: first" 0, 3 killed "--- FAIL: second" 0, 5 unreached "" 0`, "1 7,1 7,2 7,3 7,3 7"},
		{true, `1 survived "" 0, 2 killed "--- FAIL: first" 3, 3 survived "" 2, 4 survived "" 2, 5 unreached "" 0`, "1 7,1 8,1 9,2 7,2 8,2 9,3 7,3 8,3 9,4 7,4 8,4 9"},
	} {
		x := newTester(t, script)
		var ms []*Mutant
		for id := 1; id <= 5; id++ {
			if id != 4 || tt.late {
				ms = append(ms, &Mutant{ID: id})
			}
		}
		if tt.late {
			x.late = map[string][]*candidate{}
		}
		reached := []byte{0, 1, 1, 1, 1, 0}
		x.judge(t.Context(), ms, reached)
		var got []string
		for _, m := range ms {
			got = append(got, fmt.Sprintf("%d %s %q %d", m.ID, m.Outcome, m.By, m.Noticed))
		}
		b, _ := os.ReadFile(filepath.Join(x.dir, "runs"))
		if got := strings.Join(got, ", "); got != tt.want {
			t.Errorf("%s\nwant %s", got, tt.want)
		}
		if runs := strings.Split(strings.TrimSpace(string(b)), "\n"); !slices.Equal(runs, strings.Split(tt.runs, ",")) {
			t.Errorf("runs %q, want %s", runs, tt.runs)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := &Mutant{ID: 1}
	newTester(t, "exit 0").judge(ctx, []*Mutant{m}, []byte{0, 1})
	if m.Outcome != "" {
		t.Errorf("after an interrupt: %+v", m)
	}
}

// TestCount checks what each outcome adds, with and without a line of the known file, and what is printed.
func TestCount(t *testing.T) {
	mutant := func(file, outcome string) *Mutant {
		return &Mutant{File: file, Line: 7, Change: "x", Outcome: outcome, Noticed: 2, By: "why"}
	}
	all := func(outcome string) []*Mutant { return []*Mutant{mutant("a.go", outcome), mutant("b.go", outcome)} }
	ks := []known{{file: "b.go", text: "x", reason: "because"}}
	set(t, runs, 4)
	for _, tt := range []struct {
		r        Report
		delay    time.Duration
		list     bool
		warnings string
		want     string
	}{
		{Report{List: all("killed"), Mutants: 2}, 0, false, "b.go:7: listed as known, but killed: x\n", "p: 2 mutants, 2 killed, 0 survived, score 100 %\n"},
		{Report{List: all("limit"), Mutants: 2}, 0, false, "b.go:7: listed as known, but killed: x\n", "p: 2 mutants, 2 killed (2 by the limit), 0 survived, score 100 %\n"},
		{Report{List: all("survived"), Mutants: 2}, 0, false, "", "a.go:7  x  (reached)\np: 2 mutants, 0 killed, 1 survived, 1 known to change nothing, score 0 %\n"},
		{Report{List: all("survived"), Mutants: 2}, 1, false, "", "a.go:7  x  (noticed in 2 of 4 runs)\np: 2 mutants, 0 killed, 1 survived, 1 known to change nothing, score 0 %\n"},
		{Report{List: all("unreached"), Mutants: 2}, 0, false, "", "a.go:7  x  (never reached)\np: 2 mutants, 0 killed, 1 survived (1 never reached), 1 known to change nothing, score 0 %\n"},
		{Report{List: append(all("killed"), all("survived")...), Mutants: 4}, 0, false, "b.go:7: listed as known, but killed: x\n",
			"a.go:7  x  (reached)\np: 4 mutants, 2 killed, 1 survived, 1 known to change nothing, score 67 %\n"},
		{Report{List: all("survived")[1:], Mutants: 1}, 0, false, "", "p: no mutants\n"},
		{Report{List: all("survived")[1:], Mutants: 1}, 1, false, "", ""},
		{Report{}, 0, false, "", "p: no mutants\n"},
		{Report{}, 0, true, "", "p: 0 possible\n"},
		{Report{List: all("error")}, 0, false, "its tests could not be run: why", "p: not judged: its tests could not be run: why\n"},
	} {
		set(t, delay, tt.delay)
		set(t, listOnly, tt.list)
		r, warnings, out := tt.r, strings.Builder{}, strings.Builder{}
		r.Package, r.Score = "p", -1
		if err := r.count(ks, &warnings); err != nil {
			r.Error = err.Error()
			warnings.WriteString(r.Error)
		}
		r.print(&out)
		if warnings.String() != tt.warnings || out.String() != tt.want {
			t.Errorf("%+v: %q, %q\nwant %q, %q", tt.r, warnings.String(), out.String(), tt.warnings, tt.want)
		}
	}
}
