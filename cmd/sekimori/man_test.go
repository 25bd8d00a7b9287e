package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

const manDir = "../../deploy/man"

// manDate is the date of every page. It is fixed, so that a page does not change with the day on
// which it is made.
var manDate = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// manPages makes a page for every command below sekimori, the manual sekimori(8) of the daemon,
// and the manual sekimori.yaml(5) of the configuration.
func manPages(t *testing.T) map[string][]byte {
	t.Helper()
	header := &doc.GenManHeader{Section: "1", Source: "sekimori", Manual: "sekimori", Date: &manDate}
	root := newRoot()
	root.DisableAutoGenTag = true // the tag would contain the day on which the page is made
	dir := t.TempDir()
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{"sekimori.8": daemonManual(newRoot()), "sekimori.yaml.5": configurationManual(t)}
	for _, path := range manFiles(t, dir) {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(path); name != "sekimori.1" { // sekimori(8) replaces this page and says more
			out[name] = []byte(tidy(string(page)))
		}
	}
	return out
}

func manFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.[158]"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestManPages checks that the pages in deploy/man are those that manPages makes.
func TestManPages(t *testing.T) {
	want := manPages(t)
	if *update {
		for _, path := range manFiles(t, manDir) {
			os.Remove(path)
		}
		for name, page := range want {
			if err := os.WriteFile(filepath.Join(manDir, name), page, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	const remedy = "run: go test ./cmd/sekimori -run ManPages -update"
	for _, path := range manFiles(t, manDir) {
		if want[filepath.Base(path)] == nil {
			t.Errorf("%s is a page that no command has; %s", path, remedy)
		}
	}
	for name, page := range want {
		got, err := os.ReadFile(filepath.Join(manDir, name))
		if err != nil || !bytes.Equal(got, page) {
			t.Errorf("deploy/man/%s differs from the page that is made from the commands (%v); %s", name, err, remedy)
		}
	}
}

// TestCommandsAreDocumented checks that every command has a short description.
func TestCommandsAreDocumented(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s does not say what it does", c.CommandPath())
		}
		if c.Runnable() && !c.HasParent() {
			return
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}
