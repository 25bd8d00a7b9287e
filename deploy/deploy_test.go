// Package deploy has only tests. They check the files of this directory with the programs that read
// them. They also check that a running daemon has the metrics that the files name.
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

// toolTimeout is the longest time that a program started by run may take.
const toolTimeout = 2 * time.Minute

// need skips the test if a program or file is not installed. In CI it fails the test instead if
// .ci/run installs the Debian package. So no check can stop running unnoticed.
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

// isThere reports whether a program is in the PATH or, if tool contains a slash, whether it is a
// regular file. A folder with the name of a program, such as prometheus in this directory, does not
// count.
func isThere(tool string) bool {
	if !strings.Contains(tool, "/") {
		_, err := exec.LookPath(tool)
		return err == nil
	}
	info, err := os.Stat(tool)
	return err == nil && info.Mode().IsRegular()
}

// TestIsThere checks that isThere does not mistake a folder for a program.
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

// TestMakeNamesTheCompiler checks that "make test" and similar targets report a missing C compiler
// by its name.
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

// run runs a program in dir and returns its output. It fails the test if the program fails.
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

// setting returns the values of a key in a unit file, in the order of the file.
func setting(unit, key string) []string {
	var values []string
	for _, line := range strings.Split(unit, "\n") {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			values = append(values, value)
		}
	}
	return values
}
