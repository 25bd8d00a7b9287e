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
	floorHeading = regexp.MustCompile(`^### Floor (\d+): `)
	packageLine  = regexp.MustCompile("^- `((?:internal|cmd)/[a-z0-9/]+)`: (.+)$")
	pathInText   = regexp.MustCompile("`((?:internal|cmd|configs|deploy|testdata)/[A-Za-z0-9_./-]*)`")
)

// packages are the directories of internal and cmd with a Go file in them.
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
	delete(found, "internal") // these tests
	return found
}

// TestArchitectureNamesEveryPackage holds the list of packages to the
// directories and to their floors: each is there once, with a sentence.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	want := packages(t)
	named := map[string]bool{}
	floor := -1
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			floor = -1
		}
		if m := floorHeading.FindStringSubmatch(line); m != nil {
			floor, _ = strconv.Atoi(m[1])
		}
		m := packageLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		switch name := m[1]; {
		case !want[name]:
			t.Errorf("%s names %s, and there is no such package", architecture, name)
		case named[name]:
			t.Errorf("%s names %s twice", architecture, name)
		case floors[name] != floor:
			t.Errorf("%s has %s on floor %d; arch_test.go has it on floor %d", architecture, name, floor, floors[name])
		case !strings.HasSuffix(m[2], "."):
			t.Errorf("%s: what it says of %s is not a sentence: %q", architecture, name, m[2])
		default:
			named[name] = true
		}
	}
	for name := range want {
		if !named[name] {
			t.Errorf("%s does not name %s; say in a line \"- `%s`: ...\" what it is for", architecture, name, name)
		}
	}
}

// TestArchitectureNamesExistingFiles: whoever follows a path of the page
// arrives somewhere.
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
