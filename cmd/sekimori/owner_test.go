package main

import (
	"errors"
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

// TestOwnerOf: the owner of the directory decides, because a file of root may be in it by mistake.
func TestOwnerOf(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ dir, file, want int }{{0, 0, 0}, {0, 65534, 65534}, {65533, 65534, 65533}, {65533, 0, 65533}} {
		if err := errors.Join(os.Chown(dir, tt.dir, tt.dir+1), os.Chown(path, tt.file, tt.file+1)); err != nil {
			t.Fatal(err)
		}
		got, err := ownerOf(path)
		switch {
		case err != nil:
			t.Error(err)
		case tt.want == 0 && got != nil:
			t.Errorf("%+v: %d", tt, got.Uid)
		case tt.want != 0 && (got == nil || int(got.Uid) != tt.want || int(got.Gid) != tt.want+1):
			t.Errorf("%+v: %+v", tt, got)
		}
	}
	if got, err := ownerOf(filepath.Join(path, "below")); got != nil || err == nil {
		t.Errorf("below a file: %v, %v", got, err)
	}
}
