package internal

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const architecture = "ARCHITECTURE.md"

var (
	floorHeading = regexp.MustCompile(`^### Floor (\d+): (.+)$`)
	packageLine  = regexp.MustCompile("^- `((?:internal|cmd)/[a-z0-9/{},]+)`: (.+)$")
	pathInText   = regexp.MustCompile("`((?:internal|cmd|configs|deploy|testdata)/[A-Za-z0-9_./-]*)`")
)

// packages returns the directories below internal and cmd that contain Go files.
func packages(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, top := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, ".go") {
				found[filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), ".."+string(filepath.Separator)))] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	delete(found, "internal") // it has only these tests
	return found
}

// TestArchitectureNamesEveryPackage checks that ARCHITECTURE.md has every package exactly once,
// under the heading of its floor, and that the text about it ends with a full stop.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	want := packages(t)
	named := map[string]bool{}
	at := floor(-1)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			at = -1
		}
		if m := floorHeading.FindStringSubmatch(line); m != nil {
			number, _ := strconv.Atoi(m[1])
			if at = floor(number); at > commands || at.String() != m[2] {
				t.Fatalf("%s: arch_test.go has no floor %s called %q", architecture, m[1], m[2])
			}
		}
		m := packageLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if !strings.HasSuffix(m[2], ".") {
			t.Errorf("%s: the text about %s does not end with a full stop: %q", architecture, m[1], m[2])
		}
		for _, name := range spelledOut(m[1]) {
			switch {
			case !want[name]:
				t.Errorf("%s names %s, and there is no such package", architecture, name)
			case named[name]:
				t.Errorf("%s names %s twice", architecture, name)
			case floors[name] != at:
				t.Errorf("%s has %s on floor %d; arch_test.go has it on floor %d", architecture, name, at, floors[name])
			}
			named[name] = true
		}
	}
	for name := range want {
		if !named[name] {
			t.Errorf("%s does not name %s; say in a line \"- `%s`: ...\" what it is for", architecture, name, name)
		}
	}
}

// spelledOut returns the package paths that a pattern such as "a/{b,c}" stands for.
func spelledOut(name string) []string {
	before, rest, grouped := strings.Cut(name, "{")
	if !grouped {
		return []string{name}
	}
	var all []string
	for last := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
		all = append(all, before+last)
	}
	return all
}

// TestArchitectureNamesExistingFiles checks that every path which ARCHITECTURE.md names exists.
func TestArchitectureNamesExistingFiles(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	paths := pathInText.FindAllStringSubmatch(string(text), -1)
	if len(paths) < 10 {
		t.Fatalf("%d paths found in %s", len(paths), architecture)
	}
	for _, m := range paths {
		if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(m[1]))); err != nil {
			t.Errorf("%s names %s: %v", architecture, m[1], err)
		}
	}
}
