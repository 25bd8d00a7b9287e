// Package suites reads published conformance suites. The tests of the packages for SPF, DKIM, ARC
// and DMARC and the tests of the whole daemon use it, so that all of them run the same test cases.
// The suites are in ../shared/conformance beside the repository ("the shared data"), and in the
// modules of other implementations that the tests use. For tests only.
package suites

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Path returns the path of a file or folder in the shared data, such as "dkim/dkimpy.json". If the
// shared data is not beside the repository, the test is skipped with a line that "make conformance"
// shows. If the shared data is there but this file is missing, the test fails.
func Path(tb testing.TB, name string) string {
	tb.Helper()
	dir := filepath.Join(root(tb), "..", "shared", "conformance")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		tb.Skipf("suites in %s: skipped, there is no ../shared/conformance beside the repository: its own cases prove the same rules", name)
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("the conformance data is not whole: %v", err)
	}
	return path
}

// root returns the folder with go.mod. It is the first one found upwards from the current folder,
// because tests run in the folder of their package.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// Read reads a file of the shared data.
func Read(tb testing.TB, name string) []byte {
	tb.Helper()
	return readFile(tb, Path(tb, name))
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// readJSON reads a JSON file of the shared data into a value.
func readJSON(tb testing.TB, name string, into any) {
	tb.Helper()
	if err := json.Unmarshal(Read(tb, name), into); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
}

// Module returns the folder of a module in the module cache. It skips the test if the module is not
// there.
func Module(tb testing.TB, path string) string {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	dir := strings.TrimSpace(string(out))
	switch {
	case errors.Is(err, exec.ErrNotFound), err == nil && dir == "":
		tb.Skipf("suites in %s: skipped, the module is not in the cache (%v)", path, err)
	case err != nil:
		tb.Fatalf("go list -m %s: %v", path, err)
	}
	return dir
}

// Log logs the summary line that "make conformance" looks for. excluded names the test cases that
// count as neither passed nor failed, with the reasons. It is "" if there are no such cases.
func Log(tb testing.TB, name string, passed, total int, excluded string) {
	tb.Helper()
	if excluded != "" {
		excluded = " (" + excluded + ")"
	}
	tb.Logf("suite %s: passed %d / total %d%s", name, passed, total, excluded)
}
