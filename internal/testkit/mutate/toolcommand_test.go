//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// packages is a module with a package of each sort: judged, without tests, without mutants, with tests that fail, and
// with tests that do not compile.
func packages() map[string]string {
	files := maps.Clone(module)
	maps.Copy(files, map[string]string{
		"internal/broken/broken.go":      "package broken\n\nfunc One() int { return 1 }\n",
		"internal/broken/broken_test.go": "package broken\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) {\n\tif One() != 2 {\n\t\tt.Error(1)\n\t}\n}\n",
		"internal/empty/empty.go":        "package empty\n\nconst One = 1\n",
		"internal/empty/empty_test.go":   "package empty\n\nvar _ = two\n",
		"internal/stuck/stuck.go":        "package stuck\n\nfunc One() int { return 1 }\n",
		"internal/stuck/stuck_test.go":   "package stuck\n\nvar _ = two\n",
		"untested/untested.go": `package untested

type kind int

const (
	red kind = iota
	green
	blue
)

func Kind(n int) kind {
	if n > 3 {
		return red
	}
	return blue
}
`,
	})
	return files
}

// TestCommand has command lines with what they print and their exit status.
func TestCommand(t *testing.T) {
	dir, seconds := write(t, packages()), regexp.MustCompile(`[0-9.]+ s\b|\([0-9.]+s\)`)
	for _, tt := range []struct {
		args           string
		status         int
		stdout, stderr string
	}{
		{"--n 3 --jobs 1 ./...", 2, `internal/broken: not judged: its tests fail without any change: --- FAIL: TestOne TIME
internal/empty: no mutants
internal/stuck: not judged: its tests do not compile: # example/internal/stuck [example/internal/stuck.test]
internal/stuck/stuck_test.go:3:9: undefined: two
internal/toll/toll.go:12  3 plus one; in: n > 3  (never reached)
internal/toll: 3 mutants, 2 killed, 1 survived (1 never reached), score 67 %
untested/untested.go:12  > to >=: n > 3  (never reached)
untested/untested.go:13  removed: return red; under: if n > 3  (never reached)
untested/untested.go:15  blue to red; in: return blue  (never reached)
untested: 3 mutants, 0 killed, 3 survived (3 never reached), score 0 %
`, `internal/toll: 3 of 12 possible mutants, tests take TIME
untested: 3 of 7 possible mutants, tests take TIME
mutate: not judged: internal/broken, internal/stuck
`},
		{"--list untested", 0, `untested/untested.go:12  condition never true: n > 3
untested/untested.go:12  condition always true: n > 3
untested/untested.go:12  > to >=: n > 3
untested/untested.go:12  3 plus one; in: n > 3
untested/untested.go:13  removed: return red; under: if n > 3
untested/untested.go:13  red to blue|green; in: return red
untested/untested.go:15  blue to green|red; in: return blue
untested: 7 possible
`, ""},
		{"--list --ops verdict --at untested.go:12,untested/untested.go:15 untested", 0, `untested/untested.go:12  condition never true: n > 3
untested/untested.go:12  > to >=: n > 3
untested/untested.go:15  blue to green|red; in: return blue
untested: 3 possible
`, ""},
		{"--strict --at untested/untested.go:13", 1, `untested/untested.go:13  removed: return red; under: if n > 3  (never reached)
untested/untested.go:13  red to blue; in: return red  (never reached)
untested/untested.go:13  red to green; in: return red  (never reached)
untested: 3 mutants, 0 killed, 3 survived (3 never reached), score 0 %
`, `untested: 3 of 7 possible mutants, tests take TIME
mutate: mutants survived; write a test that needs what they change, or a line in the known file
`},
		{"--strict --at toll/toll.go:6 --at toll/toll.go:8 --jobs 1", 0, "internal/toll: 1 mutants, 1 killed, 0 survived, score 100 %\n", "internal/toll: 1 of 12 possible mutants, tests take TIME\n"},
		{"--list --at broken.go:3 empty broken/...", 0, "internal/empty: 0 possible\ninternal/broken/broken.go:3  1 plus one; in: return 1\ninternal/broken: 1 possible\n", ""},
		{"--n 65535 --runs 1 --jobs 1 --list empty", 0, "internal/empty: 0 possible\n", ""},
		{"--n 1 --list empty", 0, "internal/empty: 0 possible\n", ""},
		{"--delay 1ms untested", 0, "", ""},
		{"--at toll.go:3", 2, "", "mutate: no package named (see --help)\n"},
		{"--at toll/toll.go:x", 2, "", "mutate: --at toll/toll.go:x: want FILE:LINE\n"},
		{"", 2, "", "mutate: no package named (see --help)\n"},
		{"none", 2, "", "mutate: go list: exit status 1\npackage none is not in std"},
		{"fmt", 2, "", "mutate: no package of a module matches\n"},
		{"--ops most toll", 2, "", "mutate: --ops is all or verdict, not \"most\"\n"},
		{"--n 0 toll", 2, "", "mutate: --n must be 1 to 65535, --jobs at least 1\n"},
		{"--n 65536 toll", 2, "", "mutate: --n must be 1 to 65535, --jobs at least 1\n"},
		{"--jobs 0 toll", 2, "", "mutate: --n must be 1 to 65535, --jobs at least 1\n"},
		{"--delay -1ns toll", 2, "", "mutate: --delay must not be negative, --runs at least 1\n"},
		{"--runs 0 toll", 2, "", "mutate: --delay must not be negative, --runs at least 1\n"},
		{"--known nosuch toll", 2, "", "mutate: open nosuch: no such file or directory\n"},
		{"--json no/such --list empty", 2, "internal/empty: 0 possible\n", "mutate: open no/such: no such file or directory\n"},
		{"--root / --list empty", 2, "", "mutate: this folder is in no Go module; stand in the checkout or give --root\n"},
		{"--root internal/empty --list empty", 0, "internal/empty: 0 possible\n", ""},
		{"--nosuch", 2, "", "flag provided but not defined: -nosuch\nusage: mutate [options] PKG...   (PKG: spf, report/..., ./internal/spf)\n  -at string\n"},
		{"--help", 0, "", "usage: mutate [options] PKG...   (PKG: spf, report/..., ./internal/spf)\n  -at string\n"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, status := tool(t, dir, strings.Fields(tt.args)...)
			stdout, stderr = seconds.ReplaceAllString(stdout, "TIME"), seconds.ReplaceAllString(stderr, "TIME")
			if status != tt.status || stdout != tt.stdout || (tt.stderr == "") != (stderr == "") || !strings.HasPrefix(stderr, tt.stderr) {
				t.Errorf("status %d, want %d\n%s\nwant\n%s\n%s\nwant\n%s", status, tt.status, stdout, tt.stdout, stderr, tt.stderr)
			}
		})
	}
}

// TestNoScratch checks that the tool needs a folder for its files.
func TestNoScratch(t *testing.T) {
	cmd, tmp := command(t, t.TempDir(), "--help")
	cmd.Args = cmd.Args[:1]
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp+"/none")
	out, _ := cmd.CombinedOutput()
	if want := "mutate: stat " + tmp + "/none: no such file or directory\n"; cmd.ProcessState.ExitCode() != 2 || string(out) != want {
		t.Errorf("%v, %s, want %s", cmd.ProcessState, out, want)
	}
}

// TestDoesNotCompile checks that a change which does not compile is left out, with those of its line.
func TestDoesNotCompile(t *testing.T) {
	stdout, stderr, status := tool(t, many(t), "--at", "plain.go:31,plain.go:32,plain.go:33,plain.go:35,plain.go:36", ".")
	want := `plain.go:31  2 plus one; in: bool := 2  (never reached)
plain.go:33  removed: n = bool; under: if x < y  (never reached)
plain.go:35  3 plus one; in: int := 3  (never reached)
: 3 mutants, 0 killed, 3 survived (3 never reached), score 0 %
`
	if status != 0 || stdout != want {
		t.Errorf("status %d\n%s\nwant\n%s\n%s", status, stdout, want, stderr)
	}
}

// TestJSON compares the whole report of one line.
func TestJSON(t *testing.T) {
	dir := write(t, packages())
	file := filepath.Join(dir, "report.json")
	if _, stderr, status := tool(t, dir, "--json", file, "--ops", "verdict", "--at", "untested/untested.go:15", "--n", "1"); status != 0 {
		t.Fatal(status, stderr)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []Report
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	mutant := func(id int, to string) *Mutant {
		return &Mutant{ID: id, File: "untested/untested.go", Line: 15, Func: "Kind", Op: "enum-swap", Change: "blue to " + to, Context: "in: return blue", Nth: 1,
			Start: 134, End: 138, Outcome: "unreached"}
	}
	want := []Report{{Package: "untested", Possible: 7, Mutants: 2, Survived: 2, Unread: 2, List: []*Mutant{mutant(1, "green"), mutant(2, "red")}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s", b)
	}
}

// TestInterrupted checks that a signal ends the tool and the tests that it runs, and leaves no files.
func TestInterrupted(t *testing.T) {
	files := packages()
	files["internal/toll/toll_test.go"] = `package toll

import (
	"os"
	"testing"
	"time"
)

func TestPrice(t *testing.T) {
	if Price(2, false); os.Getenv("ZMUT") != os.Getenv("STOP_AT") {
		return
	}
	f, err := os.OpenFile("pipe", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("begun\n")
	time.Sleep(time.Minute)
	f.Close()
}
`
	dir := write(t, files)
	pipe := filepath.Join(dir, "internal/toll/pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for mutant, want := range map[string]string{
		"0": "internal/toll: not judged: context canceled\nmutate: interrupted\n",
		"1": "internal/toll: 1 of 12 possible mutants, tests take TIME\ninternal/toll: not judged: context canceled\nmutate: interrupted\n",
	} {
		cmd, tmp := command(t, dir, "--ops", "verdict", "--seed", "3", "--n", "1", "toll", "untested")
		cmd.Env = append(cmd.Env, "STOP_AT="+mutant)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(pipe)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(f)
		if line, err := r.ReadString('\n'); line != "begun\n" {
			t.Error(line, err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if _, err := r.ReadByte(); err == nil {
			t.Error("the tests went on")
		}
		f.Close()
		left, err := os.ReadDir(tmp)
		if got := regexp.MustCompile(`[0-9.]+ s\b`).ReplaceAllString(out.String(), "TIME"); cmd.ProcessState.ExitCode() != 2 || got != want || len(left) > 0 || err != nil {
			t.Errorf("in run %s: %v, %v, %v, %s", mutant, cmd.ProcessState, left, err, got)
		}
	}
}
