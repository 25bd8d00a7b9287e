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

// namespace makes a network namespace that has the clients' addresses, and a host
// name with a dot, without which Sendmail waits a minute. It runs the functions
// that come on the channel in one thread of the namespace. The namespace lives as
// long as that thread and the processes started in it.
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
			return // the thread ends with its namespaces
		}
		for f := range work {
			f()
		}
	}()
	return work, <-ready
}

// within runs f on the namespace's thread. A socket made there, or a process
// started there, belongs to the namespace.
func (m *sendmail) within(f func()) {
	done := make(chan struct{})
	m.inside <- func() {
		defer close(done)
		f()
	}
	<-done
}

// listen opens the milter's socket of a tcp listener.
func (m *sendmail) listen(s slot) (ln net.Listener, err error) {
	m.within(func() {
		var listeners []net.Listener
		if listeners, err = (sockets.Config{Address: s.milter}).Listen(); err == nil {
			ln = listeners[0]
		}
	})
	return ln, err
}

// connect dials within the namespace.
func (m *sendmail) connect(from, to string) (conn net.Conn, err error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	m.within(func() { conn, err = dialer.Dial("tcp", to) })
	return conn, err
}
