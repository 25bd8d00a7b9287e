package postfix

import (
	"bufio"
	"os"
	"os/exec"
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
