package postfix

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLeash checks that the command ends if the script's input ends, and if the script gets a
// signal.
func TestLeash(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("setsid (util-linux) is not installed")
		}
		t.Skip("setsid (util-linux) is not installed")
	}
	for why, end := range map[string]func(*exec.Cmd, func() error) error{
		"end of input": func(_ *exec.Cmd, closeInput func() error) error { return closeInput() },
		"terminated":   func(c *exec.Cmd, _ func() error) error { return c.Process.Signal(syscall.SIGTERM) },
		"interrupted":  func(c *exec.Cmd, _ func() error) error { return c.Process.Signal(os.Interrupt) },
	} {
		c := exec.Command("sh", "-c", LeashScript, "leash", "sh", "-c", "trap 'echo ended; exit' TERM; echo began; while :; do sleep 0.01; done")
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
		lines := bufio.NewReader(out)
		began, _ := lines.ReadString('\n')
		if err := end(c, in.Close); err != nil {
			t.Error(err)
		}
		ended, _ := lines.ReadString('\n')
		if strings.TrimSpace(began) != "began" || strings.TrimSpace(ended) != "ended" {
			t.Errorf("%s: %q, %q", why, began, ended)
		}
		_ = in.Close()
		_ = c.Wait()
		kill.Stop()
	}
}

// installed skips a test that needs root and Postfix.
func installed(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(Master); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("Postfix is not installed, or this is not root: %v", err)
		}
		t.Skip("Postfix is not installed, or this is not root")
	}
}

// TestLayOut compares every directory of an instance with what "postfix check" asks for.
func TestLayOut(t *testing.T) {
	installed(t)
	dir := filepath.Join(t.TempDir(), "postfix")
	if err := LayOut(dir, filepath.Join(dir, "mail", "boxes")); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		u, err := user.LookupId(strconv.Itoa(int(stat.Uid)))
		if err != nil {
			return err
		}
		g, err := user.LookupGroupId(strconv.Itoa(int(stat.Gid)))
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		fmt.Fprintf(&got, "%s %s %s:%s\n", name, info.Mode(), u.Username, g.Name)
		return err
	})
	const want = `. drwxr-xr-x root:root
data drwx------ postfix:root
etc drwxr-xr-x root:root
mail drwxr-xr-x root:root
mail/boxes drwxr-xr-x nobody:nogroup
queue drwxr-xr-x root:root
queue/active drwx------ postfix:root
queue/bounce drwx------ postfix:root
queue/corrupt drwx------ postfix:root
queue/defer drwx------ postfix:root
queue/deferred drwx------ postfix:root
queue/flush drwx------ postfix:root
queue/hold drwx------ postfix:root
queue/incoming drwx------ postfix:root
queue/maildrop dtrwx-wx--- postfix:postdrop
queue/pid drwxr-xr-x root:root
queue/private drwx------ postfix:root
queue/public dgrwx--x--- postfix:postdrop
queue/saved drwx------ postfix:root
queue/trace drwx------ postfix:root
run drwxr-xr-x root:root
`
	if err != nil || got.String() != want {
		t.Errorf("%v\n%s", err, &got)
	}
}

func TestLayOutFails(t *testing.T) {
	installed(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ dir, owner, mailbox, group, want string }{
		{file, "postfix", "nobody", "postdrop", "postfix: mkdir " + file + ": not a directory"},
		{dir, "no-such-user", "nobody", "postdrop", "postfix: user: unknown user no-such-user"},
		{dir, "postfix", "no-such-user", "postdrop", "postfix: user: unknown user no-such-user"},
		{dir, "postfix", "nobody", "no-such-group", "postfix: group: unknown group no-such-group"},
	} {
		if err := layOut(tt.dir, filepath.Join(tt.dir, "mail"), tt.owner, tt.mailbox, tt.group); err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	if err := LayOut(file, file); err == nil {
		t.Error("an instance was made below a file")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v: directories were made for users that do not exist", err, left)
	}
}

// TestStart starts an instance without services, and stops it.
func TestStart(t *testing.T) {
	installed(t)
	dir := t.TempDir()
	if err := LayOut(dir, filepath.Join(dir, "mail")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf("compatibility_level = 3.6\nqueue_directory = %[1]s/queue\ndata_directory = %[1]s/data\ndaemon_directory = %[2]s\n"+
			"maillog_file = %[1]s/log\nmaillog_file_prefixes = %[1]s\n", dir, Daemons),
		"master.cf": "postlog unix-dgram n - n - 1 postlogd\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil { //nolint:gosec // Postfix reads it as another user
			t.Fatal(err)
		}
	}
	i, err := Start(filepath.Join(dir, "etc"))
	if err != nil {
		t.Fatal(err)
	}
	master := 0
	for deadline := time.Now().Add(time.Minute); master == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(filepath.Join(dir, "queue", "pid", "master.pid")); err == nil {
			_, _ = fmt.Sscan(string(text), &master) // it may be empty still
		}
	}
	i.Stop()
	if err := syscall.Kill(max(master, 1), 0); master == 0 || !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d after Stop: %v", master, err)
	}
	t.Setenv("PATH", dir)
	if _, err := Start(dir); err == nil || err.Error() != `postfix: exec: "sh": executable file not found in $PATH` {
		t.Errorf("without a shell: %v", err)
	}
}
