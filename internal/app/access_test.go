package app

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/config"
)

// TestAccess checks that root hears of files that the daemon's user may not read.
func TestAccess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to other users")
	}
	top, err := os.MkdirTemp("/tmp", "access") // t.TempDir is below a directory that only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	const uid, gid, other = 4711, 4712, 4713
	make := func(name string, mode os.FileMode, owner, group int) string {
		t.Helper()
		path := filepath.Join(top, name)
		create := func() error { return os.WriteFile(path, []byte("x"), 0o600) }
		if strings.HasSuffix(name, "/") {
			create = func() error { return os.Mkdir(path, 0o700) }
		}
		err := create()
		for _, err := range []error{err, os.Chown(path, owner, group), os.Chmod(path, mode)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	closed := make("closed/", 0o700, 0, 0)
	for _, tt := range []struct {
		path string
		may  bool
	}{
		{make("everybody", 0o644, 0, 0), true},
		{make("root", 0o600, 0, 0), false},
		{make("own", 0o400, uid, other), true},
		{make("owner-may-not", 0o044, uid, gid), false},
		{make("group", 0o640, 0, gid), true},
		{make("other-group", 0o640, 0, other), false},
		{make("closed/inside", 0o644, 0, 0), false},
		{filepath.Join(closed, "missing"), true},
		{filepath.Join(top, "missing"), true},
	} {
		who := account{name: "someone", uid: uid, groups: []uint32{gid}}
		cfg := config.Default()
		cfg.Store.PasswordFile = tt.path
		got := who.advice(cfg, "")
		if (len(got) == 0) != tt.may || !tt.may && !strings.HasPrefix(got[0], "store.password_file: the user someone may not read "+tt.path+"; ") {
			t.Errorf("%s: %q", tt.path, got)
		}
		if got := who.advice(config.Default(), tt.path); (len(got) == 0) != tt.may {
			t.Errorf("the configuration %s: %q", tt.path, got)
		}
	}
	who := account{name: "someone", uid: uid, groups: []uint32{gid}}
	for dir, may := range map[string]bool{make("mine/", 0o700, uid, 0): true, make("roots/", 0o755, 0, 0): false, filepath.Join(top, "none"): true} {
		cfg := config.Default()
		cfg.Store.URL = "sqlite:" + dir + "/x.db"
		if got := who.advice(cfg, ""); (len(got) == 0) != may || !may && !strings.Contains(got[0], "chown someone "+dir) {
			t.Errorf("%s: %q", dir, got)
		}
	}
	if _, err := lookUp("no-such-user"); err == nil {
		t.Error("found a user that does not exist")
	}
	if a, err := lookUp("root"); err != nil || a.uid != 0 || len(a.groups) == 0 {
		t.Errorf("root: %+v, %v", a, err)
	}
}

// TestLookUp: a user has its own numbers, also if they have several digits.
func TestLookUp(t *testing.T) {
	for _, name := range []string{"root", "nobody", "daemon"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue // not every system has all of them
		}
		ids, err := u.GroupIds()
		if err != nil {
			t.Fatal(err)
		}
		a, err := lookUp(name)
		if err != nil || a.name != name || fmt.Sprint(a.uid) != u.Uid || strings.Trim(fmt.Sprint(a.groups), "[]") != strings.Join(ids, " ") {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// TestCheckStore checks that the directory of an SQLite file must exist, except the one that the unit
// makes.
func TestCheckStore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, booted, want string }{
		{"", dir, ""},
		{"sqlite:" + dir + "/x.db", dir, ""},
		{"sqlite:" + dir + "/gone/x.db", dir, "the directory " + dir + "/gone does not exist; make it"},
		{"sqlite:" + file + "/x.db", dir, file + " is not a directory"},
		{"postgres://db.example/x", dir, ""},
	} {
		err := checkStore(config.Store{URL: tt.url}, tt.booted)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.url, err)
		}
	}
	if _, err := os.Stat(stateDirectory); err == nil {
		t.Logf("%s exists on this host", stateDirectory)
		return
	}
	state := config.Store{URL: "sqlite:" + stateDirectory + "/sekimori.db"}
	if err := checkStore(state, dir); err != nil {
		t.Errorf("where the unit makes the directory: %v", err)
	}
	if err := checkStore(state, filepath.Join(dir, "gone")); err == nil {
		t.Error("without systemd, nobody makes the directory")
	}
}
