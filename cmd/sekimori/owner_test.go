package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBecomeOwnerOfLink checks that root follows no link: the owner of the directory could make one to
// a file of somebody else.
func TestBecomeOwnerOfLink(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes another user")
	}
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := becomeOwner(link); err == nil || !strings.Contains(err.Error(), "neither a file nor a directory") {
		t.Errorf("a link: %v", err)
	}
	for _, path := range []string{"", file, filepath.Join(dir, "none")} { // root's own, and nothing
		if err := becomeOwner(path); err != nil || os.Geteuid() != 0 {
			t.Errorf("%q: %v", path, err)
		}
	}
}
