package mtaconf

import (
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// inGroup gives a command a process group of its own, and ends the whole group with the command.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A child that left the group may still hold the pipes. On a busy host it takes time to read what was printed.
	cmd.WaitDelay = time.Second
}

// alive reports whether there is a process with this id.
func alive(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) // which may be another user's
}
