package sockets

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPermitFails checks that a group or mode that cannot be set is an error.
func TestPermitFails(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	for group, want := range map[string]string{"0": "group 0: ", "": "no such file"} {
		if err := (Config{Group: group}).permit(gone); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("group %q: %v", group, err)
		}
	}
}

// TestPermitKeepsOwner checks that the group changes and the owner does not.
func TestPermitKeepsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a file of another owner")
	}
	path := filepath.Join(t.TempDir(), "s")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 4711, 0)); err != nil {
		t.Fatal(err)
	}
	if err := (Config{Group: "4712"}).permit(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 4711 || owner.Gid != 4712 || info.Mode().Perm() != DefaultMode {
		t.Errorf("%d:%d, %v", owner.Uid, owner.Gid, info.Mode())
	}
}

// TestUnclearSocketStays checks that a socket of which it cannot be told whether a process serves it is
// not removed. A datagram socket answers neither like a server nor like a file that was left behind.
func TestUnclearSocketStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := (Config{Address: "unix:" + path}).Listen(); err == nil || !strings.Contains(err.Error(), "cannot tell whether the socket is in use") {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	if err := removeStale(filepath.Join(path, "below")); err == nil || !strings.Contains(err.Error(), syscall.ENOTDIR.Error()) {
		t.Errorf("a path below a file: %v", err)
	}
}

// TestHints checks that each usual error of listening says what to look at.
func TestHints(t *testing.T) {
	for errno, want := range map[error]string{
		syscall.EADDRINUSE:    "is another sekimori running?",
		syscall.EACCES:        "must be able to write in the directory",
		syscall.EPERM:         "must be able to write in the directory",
		syscall.EADDRNOTAVAIL: "is the address one of this host's?",
		syscall.ENOENT:        "make the directory",
		syscall.EMFILE:        "too many open files",
	} {
		err := hint(&net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)})
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), errno.Error()) || strings.Contains(err.Error(), "listen tcp") {
			t.Errorf("%v: %v", errno, err)
		}
	}
	if err := hint(&net.OpError{Op: "listen", Net: "tcp", Err: os.ErrClosed}); err == nil || err.Error() != os.ErrClosed.Error() {
		t.Errorf("the text of package net stays: %v", err)
	}
	if err := hint(os.ErrClosed); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// TestGroupID checks names and numbers of groups.
func TestGroupID(t *testing.T) {
	for name, want := range map[string]int{"root": 0, "0": 0, "4711": 4711, "-1": -1, "no-such-group": -1, "": -1} {
		got, err := groupID(name)
		if (err == nil) != (want >= 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", name, got, err)
		}
	}
}
