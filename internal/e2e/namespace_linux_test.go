package e2e

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// namespace makes a network namespace whose loopback interface has the addresses of all clients. It
// sets a host name with a dot, because without one Sendmail waits a minute when it starts. It
// returns a channel of functions; one thread in the namespace runs these functions. The namespace
// lives as long as this thread and the processes that it started.
func namespace() (chan func(), error) {
	work, ready := make(chan func()), make(chan error)
	go func() {
		runtime.LockOSThread()
		err := syscall.Unshare(syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS)
		if err == nil {
			err = syscall.Sethostname([]byte("mx.test"))
		}
		commands := [][]string{{"link", "set", "lo", "up"}}
		for _, p := range []peer{newsMX, bankMX, sixMX, bounceMX, spoofer, {addr: "2001:db8:beef::5"}} {
			if strings.Contains(p.addr, ":") {
				commands = append(commands, []string{"addr", "add", p.addr + "/128", "dev", "lo", "nodad"})
			} else {
				commands = append(commands, []string{"addr", "add", p.addr + "/32", "dev", "lo"})
			}
		}
		for _, args := range commands {
			if err == nil {
				var out []byte
				if out, err = exec.Command("ip", args...).CombinedOutput(); err != nil {
					err = fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
				}
			}
		}
		ready <- err
		if err != nil {
			return // the goroutine returns without unlocking its thread, so the thread and its namespaces end
		}
		for f := range work {
			f()
		}
	}()
	return work, <-ready
}
