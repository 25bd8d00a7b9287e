package sqlite

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	sqlite3 "modernc.org/sqlite/lib"

	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
)

// diskEnv names the directory on which a child process of the tests mounts a small disk.
const diskEnv = "SEKIMORI_TEST_SQLITE_DISK"

// onDisk runs a test in a child process with a mount namespace of its own. It returns the directory of a
// disk of 2 MiB if this is the child, and otherwise "" after the child has ended.
func onDisk(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(diskEnv); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	child.Env = append(os.Environ(), diskEnv+"="+dir)
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		child.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		child.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		child.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := child.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || strings.Contains(string(out), "operation not permitted") {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no disk can be mounted here: %v\n%s", err, out)
		}
		t.Skip("no disk can be mounted here")
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return ""
}

// TestDiskFull fills the disk. Batches must fail as a whole, what is there must stay readable, and once
// there is room again, everything must go on by itself, without an alarm.
func TestDiskFull(t *testing.T) {
	dir := onDisk(t)
	if dir == "" {
		return
	}
	path := filepath.Join(dir, "x.db")
	d := openAt(t, path)
	added := int64(0)
	fill(t, d, "first", 50)
	added += 50
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		if err = d.Add(t.Context(), storetest.Noon(), rowsFrom(n)); err == nil {
			added += 100
		}
	}
	if code(err) != sqlite3.SQLITE_FULL || !strings.Contains(err.Error(), "disk is full") {
		t.Fatalf("after %d batches: %v", n, err)
	}
	if got := messages(t, d); got != added {
		t.Errorf("%d messages, want %d", got, added)
	}
	if _, err := d.Claim(t.Context(), storetest.Noon(), "x", 1); err != nil && !errors.Is(err, report.ErrNone) && code(err) != sqlite3.SQLITE_FULL {
		t.Error(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(t.Context(), storetest.Noon(), rowsFrom(n-1)); err != nil { // the batch that failed
		t.Fatalf("with room again: %v", err)
	}
	if got := messages(t, d); got != added+100 {
		t.Errorf("%d messages, want %d", got, added+100)
	}

	// With no room at all the daemon cannot begin a new file, but it can open the old one once there is room.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if d, err := Open(t.Context(), filepath.Join(dir, "new.db"), Options{}); err == nil {
		if err := d.Add(t.Context(), storetest.Noon(), rowsFrom(0)); err == nil {
			t.Error("the disk is not full")
		}
		d.Close()
	}
	os.Remove(ballast)
	if got := messages(t, openAt(t, path)); got != added+100 {
		t.Errorf("%d messages at the end, want %d", got, added+100)
	}
}

// TestReadOnly makes the disk read-only while the database is open, as Linux does after an error of the
// disk. This is no damage either.
func TestReadOnly(t *testing.T) {
	dir := onDisk(t)
	if dir == "" {
		return
	}
	path := filepath.Join(dir, "x.db")
	d := openAt(t, path)
	fill(t, d, "a", 50)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	if _, err := Open(t.Context(), path, Options{Damaged: func(string, error) { t.Error("set aside") }}); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("Open: %v", err)
	}
	if _, err := OpenBeside(t.Context(), path); err == nil || !strings.Contains(err.Error(), "writable") {
		t.Logf("OpenBeside: %v", err)
	}
	remount(0)
	if got := messages(t, openAt(t, path)); got != 50 {
		t.Errorf("%d messages", got)
	}
}

// TestFileReadOnly takes the right to write away from the file. Root may write all the same.
func TestFileReadOnly(t *testing.T) {
	if os.Getuid() == 0 { // root may write to every file, so another user runs this test
		asNobody(t)
		return
	}
	path := filepath.Join(t.TempDir(), "x.db")
	openAt(t, path).Close()
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "must belong to the daemon") {
		t.Errorf("got %v", err)
	}
}

// asNobody runs the test once more, in a process of the user nobody.
func asNobody(t *testing.T) {
	t.Helper()
	const nobody = 65534
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "sekimori-") // below t.TempDir, nobody may not enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "test"), program, 0o755) // go test's own directory is closed, too
	}
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, []string{"TMPDIR=" + dir, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// rowsFrom returns a batch of 100 rows that no other number has.
func rowsFrom(n int) report.Batch {
	return storetest.Batch(fmt.Sprint("n", n), storetest.Tally(storetest.Policy("shop.example"), storetest.Day(0), storetest.Rows(100*n, 100*n+100)))
}
