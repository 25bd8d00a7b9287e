package deploy

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	pageLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pageHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	inlineCode  = regexp.MustCompile("`[^`]*`")
)

// prose returns a page without its indented examples, in which links do not count.
func prose(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "    ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// anchors returns the anchors that GitHub makes from the headings of a page.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, m := range pageHeading.FindAllStringSubmatch(prose(page), -1) {
		word := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		all[regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(word, "")] = true
	}
	return all
}

// follow checks the links of all pages in files, which maps paths to contents. The target of a link
// must be in files, and the heading in it must exist. Links to other sites (with "://") are not
// checked.
func follow(t *testing.T, files map[string]string) {
	t.Helper()
	links := 0
	for name, page := range files {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for _, m := range pageLink.FindAllStringSubmatch(inlineCode.ReplaceAllString(prose(page), "code"), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			target, anchor, _ := strings.Cut(m[1], "#")
			at := name
			if target != "" {
				at = path.Join(path.Dir(name), target)
			}
			to, there := files[at]
			switch {
			case !there:
				t.Errorf("%s links to %s, which is not there", name, m[1])
			case anchor != "" && !anchors(to)[anchor]:
				t.Errorf("%s links to %s, which has no such heading", name, m[1])
			}
		}
	}
	if links < 40 {
		t.Errorf("%d links only were followed", links)
	}
}

// pages returns the paths of the documentation pages in the repository.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md", "deploy/README.md", "internal/ARCHITECTURE.md", ".github/SECURITY.md", ".github/CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "docs/ja/*.md"} {
		docs, err := filepath.Glob(pattern)
		if err != nil || len(docs) == 0 {
			t.Fatalf("no page %s: %v", pattern, err)
		}
		for _, d := range docs {
			found = append(found, "deploy/"+d)
		}
	}
	return found
}

// TestLinksOfTheSource checks the links between the pages of the repository. Links to other sites
// are not checked.
func TestLinksOfTheSource(t *testing.T) {
	files := map[string]string{}
	for _, name := range pages(t) {
		files[name] = readFile(t, "../"+name)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#\s]+)`).FindAllStringSubmatch(strings.Join(slices.Collect(maps.Values(files)), "\n"), -1) {
		// Add the files that are not pages but are the targets of links.
		for _, from := range []string{"", "deploy", "deploy/docs", "deploy/docs/ja", "internal", ".github"} {
			at := path.Join(from, m[1])
			if _, known := files[at]; !known && isFile("../"+at) {
				files[at] = ""
			}
		}
	}
	follow(t, files)
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// TestLinksOfThePackage checks the links between the pages as they are installed by the package.
// Links to other sites are not checked.
func TestLinksOfThePackage(t *testing.T) {
	need(t, "sed", "sed")
	files := map[string]string{}
	contents := regexp.MustCompile(`\{src: "?([^",}]+)"?, dst: ([^",}]+?)(, type: tree)?\}`)
	for _, m := range contents.FindAllStringSubmatch(readFile(t, "packages/nfpm.yaml"), -1) {
		src, made := strings.CutPrefix(m[1], "@DIST@/parts/doc/")
		switch {
		case strings.HasPrefix(src, "@DIST@"), !strings.HasPrefix(m[2], "/usr/share/doc/"):
		case m[3] != "":
			err := fs.WalkDir(os.DirFS(filepath.Join("..", src)), ".", func(name string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					files[path.Join(m[2], name)] = ""
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		default:
			found, err := filepath.Glob(filepath.Join("..", src))
			if err != nil || len(found) == 0 {
				t.Errorf("nfpm.yaml ships %s, which is not there: %v", src, err)
			}
			for _, name := range found {
				at := m[2]
				if strings.HasSuffix(at, "/") {
					at += filepath.Base(name)
				}
				files[at] = ""
				switch {
				case strings.HasPrefix(src, "deploy/docs/ja/"): // copied as they are
					files[at] = readFile(t, name)
				case made:
					files[at], _ = run(t, ".", "sed", "-E", "-f", "packages/links.sed", name)
				}
			}
		}
	}
	follow(t, files)
	for _, name := range pages(t) {
		at := "/usr/share/doc/sekimori/" + strings.TrimPrefix(name, "deploy/docs/")
		if _, shipped := files[at]; strings.HasPrefix(name, "deploy/docs/") && !shipped {
			t.Errorf("the package has no %s", at)
		}
	}
}

// TestReadmeLeadsToEveryPage checks that README.md has at most 150 lines and links to every page.
func TestReadmeLeadsToEveryPage(t *testing.T) {
	readme := readFile(t, "../README.md")
	if n := strings.Count(readme, "\n"); n > 150 {
		t.Errorf("README.md has %d lines, want at most 150", n)
	}
	for _, name := range pages(t) {
		if name != "README.md" && !strings.Contains(readme, "]("+name+")") && !strings.Contains(readme, "]("+name+"#") {
			t.Errorf("README.md does not link to %s", name)
		}
	}
}
