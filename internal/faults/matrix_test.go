package faults

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMatrix checks that every test named in matrix.txt exists. If the operations manual is beside
// the repository, each fault in the manual must have a line in matrix.txt.
func TestMatrix(t *testing.T) {
	text, err := os.ReadFile("matrix.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	faults := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fault, tests, ok := strings.Cut(line, ": ")
		if !ok || faults[fault] {
			t.Fatalf("not a line of its own: %q", line)
		}
		faults[fault] = true
		for _, name := range strings.Fields(tests) {
			pkg, test, _ := strings.Cut(name, ".")
			if known[pkg] == nil {
				known[pkg] = testsOf(t, pkg)
			}
			if !known[pkg][test] {
				t.Errorf("%s: there is no test %s", fault, name)
			}
		}
	}
	if len(faults) < 20 {
		t.Errorf("the matrix has %d lines only", len(faults))
	}
	manual, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "operations.md"))
	if err != nil {
		t.Logf("the lines themselves are not checked: %v", err)
		return
	}
	_, table, found := strings.Cut(string(manual), "| fault | behaviour |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !found {
		t.Fatal("no table of faults in the operations manual")
	}
	for row := range strings.Lines(table) {
		if fault := strings.TrimSpace(strings.Split(row, "|")[1]); !faults[fault] {
			t.Errorf("nothing injects %q", fault)
		}
	}
}

// testsOf returns the names of the tests of a package.
func testsOf(t *testing.T, pkg string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in package %s: %v", pkg, err)
	}
	out := map[string]bool{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				out[f.Name.Name] = true
			}
		}
	}
	return out
}
