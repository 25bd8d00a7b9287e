// Package deploy has only tests. They check every file of this directory with the
// program that reads it, and the metrics that the files name with a running
// daemon.
package deploy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// toolTimeout bounds every program a test runs.
const toolTimeout = 2 * time.Minute

// need skips the test if a program or file is not installed. In CI, where .ci/run
// installs all of them, it fails the test instead, so that no check stops
// unnoticed.
func need(t *testing.T, tool, debianPackage string) {
	t.Helper()
	if isThere(tool) {
		return
	}
	if os.Getenv("CI") == "true" && strings.Contains(" "+readFile(t, "../.ci/run"), " "+debianPackage+" ") {
		t.Fatalf("%s is not here although CI installs %s", tool, debianPackage)
	}
	t.Skipf("%s is not here; it is in Debian's package %s", tool, debianPackage)
}

// isThere reports whether a program is in the PATH or, if name is an absolute
// path, whether the file exists. A folder called like a tool, such as prometheus
// beside these tests, is neither.
func isThere(tool string) bool {
	if !strings.Contains(tool, "/") {
		_, err := exec.LookPath(tool)
		return err == nil
	}
	info, err := os.Stat(tool)
	return err == nil && info.Mode().IsRegular()
}

// A folder is not taken for a program, here or elsewhere.
func TestIsThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, tool := range []string{"prometheus", "postfix", "systemd", "../deploy/prometheus", "/nonexistent/m4"} {
		if isThere(tool) {
			t.Errorf("%s is taken for a program", tool)
		}
	}
	program := filepath.Join(os.Getenv("PATH"), "prometheus")
	writeFile(t, program, "#!/bin/sh\n", 0o755)
	for _, tool := range []string{"prometheus", program} {
		if !isThere(tool) {
			t.Errorf("%s is not found", tool)
		}
	}
}

// "make test" names the missing C compiler before anything else fails.
func TestMakeNamesTheCompiler(t *testing.T) {
	need(t, "make", "make")
	for _, target := range []string{"test", "e2e", "faults"} {
		cmd := exec.CommandContext(t.Context(), "make", "-C", "..", target, "GO=go")
		cmd.Env = append(os.Environ(), "CC=no-such-cc")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "make "+target+": -race needs a C compiler, and there is no no-such-cc: apt-get install gcc") {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// run returns what a program wrote. It fails the test if the program fails.
func run(t *testing.T, dir, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// setting returns the values of a key in a unit file, in order.
func setting(unit, key string) []string {
	var values []string
	for _, line := range strings.Split(unit, "\n") {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			values = append(values, value)
		}
	}
	return values
}
