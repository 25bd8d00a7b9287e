//go:build linux

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is a module with one package, in which the tests notice some changes and not others.
var module = map[string]string{
	"go.mod": "module example\n\ngo 1.24\n",
	"internal/toll/toll.go": `package toll

// Price is 0 for children under 6 and for members.
func Price(age int, member bool) int {
	if age < 6 || member {
		return 0
	}
	return 5
}

func Unused(n int) bool {
	return n > 3
}
`,
	"internal/toll/toll_test.go": `package toll

import "testing"

func TestPrice(t *testing.T) {
	if Price(2, false) != 0 || Price(30, false) != 5 || Price(30, true) != 0 {
		t.Error("wrong price")
	}
}
`,
}

// write puts files into a new directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// asTool is the variable that makes this test binary the tool. So a mutant of the tool that ZMUT switches on is also on
// in the tool that the tests run. The tool gives the tests that it runs a ZMUT of their own.
const asTool = "MUTATE_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) == "" {
		os.Exit(m.Run())
	}
	_ = os.Unsetenv(asTool)
	main()
}

// mutate runs the tool in dir and returns its report of the only package, its output and its exit status.
func mutate(t *testing.T, dir string, args ...string) (r Report, out string, status int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	stdout, stderr, status := tool(t, dir, append([]string{"--json", file}, args...)...)
	out = stdout + stderr
	var all []Report
	if j, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(j, &all); err != nil || len(all) != 1 {
			t.Fatalf("%v, %d reports\n%s", err, len(all), out)
		}
		r = all[0]
	}
	return r, out, status
}

// tool runs the tool in dir and checks that it leaves nothing behind.
func tool(t *testing.T, dir string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd, tmp := command(t, dir, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("%q left behind %v, %v", args, left, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// command returns the tool, to be started in dir, and the folder of its temporary files.
func command(t *testing.T, dir string, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp = t.TempDir()
	cmd = exec.Command(self, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), asTool+"=1", "GOFLAGS=-mod=mod", "GOWORK=off", "TMPDIR="+tmp)
	return cmd, tmp
}

func TestMutate(t *testing.T) {
	for name, test := range map[string]func(*testing.T){"survivors": testSurvivors, "known": testKnown, "not judged": testNotJudged, "delays": testDelays, "chance": testChance} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func testSurvivors(t *testing.T) {
	dir := write(t, module)
	r, out, status := mutate(t, dir, "toll")
	if status != 0 || r.Mutants < 8 || r.Killed == 0 || r.Survived != r.Mutants-r.Killed || r.Unread == 0 {
		t.Fatalf("status %d, %+v\n%s", status, r, out)
	}
	outcomes := map[string]string{}
	for _, m := range r.List {
		outcomes[m.Change] = m.Outcome
	}
	for change, want := range map[string]string{
		"6 plus one":                   "survived", // no test is six years old
		"|| to &&: age < 6 || member":  "killed",
		"term dropped from ||: member": "killed",
		"> to >=: n > 3":               "unreached",
	} {
		if outcomes[change] != want {
			t.Errorf("%s: %q, want %s\n%s", change, outcomes[change], want, out)
		}
	}
	if _, out, status := mutate(t, dir, "--strict", "toll"); status != 1 {
		t.Errorf("--strict: status %d\n%s", status, out)
	}
}

func testKnown(t *testing.T) {
	dir := write(t, module)
	r, _, _ := mutate(t, dir, "toll")
	var known strings.Builder
	for _, m := range r.List {
		if m.Outcome == "survived" || m.Outcome == "unreached" {
			known.WriteString(m.File + ":" + m.Func + "  " + m.text() + "  a test of the tool\n")
		}
	}
	file := filepath.Join(t.TempDir(), "known")
	if err := os.WriteFile(file, []byte("# comment\n\n"+known.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, out, status := mutate(t, dir, "--strict", "--known", file, "toll"); status != 0 || r.Survived != 0 || r.Known == 0 || r.Score != 100 {
		t.Errorf("status %d, %+v\n%s", status, r, out)
	}
	if err := os.WriteFile(file, []byte("toll.go  too short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, status := mutate(t, dir, "--known", file, "toll"); status != 2 || !strings.Contains(out, "known:1") {
		t.Errorf("a known file with a mistake: status %d\n%s", status, out)
	}
}

// testNotJudged checks that a package whose tests fail without any change is not a success.
func testNotJudged(t *testing.T) {
	files := map[string]string{}
	for name, text := range module {
		files[name] = strings.Replace(text, "!= 5", "!= 6", 1)
	}
	dir := write(t, files)
	if _, out, status := mutate(t, dir, "toll"); status != 2 || !strings.Contains(out, "fail without any change") {
		t.Errorf("status %d\n%s", status, out)
	}
}

// testChance checks that a mutant which the tests miss in one run of two counts as killed.
func testChance(t *testing.T) {
	files := map[string]string{}
	for name, text := range module {
		files[name] = text
	}
	files["internal/toll/toll_test.go"] = `package toll

import (
	"os"
	"testing"
)

func TestPrice(t *testing.T) {
	wrong := Price(2, false) != 0 || Price(5, false) != 0 || Price(6, false) != 5 || Price(30, true) != 0
	if mutant := os.Getenv("ZMUT"); wrong && os.Mkdir("missed"+mutant, 0o700) != nil {
		t.Error("wrong price")
	}
}
`
	r, out, status := mutate(t, write(t, files), "--ops", "verdict", "toll")
	for _, m := range r.List {
		if m.Func == "Price" && m.Outcome != "killed" {
			t.Errorf("%s: %s", m.Change, m.Outcome)
		}
	}
	if status != 0 || r.Killed == 0 {
		t.Errorf("status %d\n%s", status, out)
	}
}
