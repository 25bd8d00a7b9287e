package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"sekimori/internal/milter/sockets"
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

// within runs f on the thread of the namespace and waits until f returns. A socket or a process
// that f creates belongs to the namespace.
func (m *sendmail) within(f func()) {
	done := make(chan struct{})
	m.inside <- func() {
		defer close(done)
		f()
	}
	<-done
}

// listen opens the milter socket of a listener of the kind "tcp", within the namespace.
func (m *sendmail) listen(s slot) (ln net.Listener, err error) {
	m.within(func() {
		var listeners []net.Listener
		if listeners, err = (sockets.Config{Address: s.milter}).Listen(); err == nil {
			ln = listeners[0]
		}
	})
	return ln, err
}

// connect connects to an address within the namespace, from the given source address unless it is
// "".
func (m *sendmail) connect(from, to string) (conn net.Conn, err error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	m.within(func() { conn, err = dialer.Dial("tcp", to) })
	return conn, err
}
