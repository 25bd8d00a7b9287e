//go:build linux

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// many returns a copy of the module in testdata/many. Its files are named .txt there, so that nobody takes them for code.
func many(t *testing.T) string {
	t.Helper()
	const from = "testdata/many"
	files := map[string]string{}
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		files[strings.TrimSuffix(strings.TrimPrefix(name, from), ".txt")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, files)
}

// loadPackage returns the only package of a pattern in a module.
func loadPackage(t *testing.T, dir, pattern string) *source {
	t.Helper()
	wanted, _, exports, err := list(dir, []string{pattern})
	if err != nil || len(wanted) != 1 {
		t.Fatal(wanted, err)
	}
	s, err := load(dir, wanted[0], exports)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPlaces compares every mutant of testdata/many, and what is compiled for it, with testdata/many.txt.
// UPDATE=places writes that file anew.
func TestPlaces(t *testing.T) {
	dir := many(t)
	s := loadPackage(t, dir, ".")
	var got strings.Builder
	for _, c := range s.places {
		src := string(s.texts[filepath.Join(dir, c.File)])
		emit := func(start, end int) string { return "«" + src[start:end] + "»" }
		fmt.Fprintf(&got, "%s:%d %s#%d %s %d: %s\n", c.File, c.Line, c.Func, c.Nth, c.Op, c.depth, c.text())
		if c.alts == nil {
			fmt.Fprintf(&got, "\t%s => %s\n", oneLine(src[c.Start:c.End]), oneLine(c.render(emit, "7")))
		}
		for _, alt := range c.alts {
			fmt.Fprintf(&got, "\t%s => %s\n", src[c.Start:c.End], c.altAt(alt)(emit, "7"))
		}
	}
	const golden = "testdata/many.txt"
	if os.Getenv("UPDATE") == "places" {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	lines, want := strings.Split(got.String(), "\n"), strings.Split(string(b), "\n")
	for i := range max(len(lines), len(want)) {
		if i >= len(lines) || i >= len(want) || lines[i] != want[i] {
			t.Fatalf("line %d: %q\nwant %q", i+1, lines[i:min(i+3, len(lines))], want[i:min(i+3, len(want))])
		}
	}
}
