package mtaconf

import (
	"os/exec"
	"syscall"
	"time"
)

// inGroup gives a command a process group of its own, and ends the whole group with the command.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 100 * time.Millisecond // a child that left the group may still hold the pipes
}
