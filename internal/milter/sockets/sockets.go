// Package sockets opens the sockets that a milter listens on. The syntax of an address is that of
// Postfix and Sendmail. The file of a unix socket gets the mode and group that the configuration
// names. Sockets that systemd passed can be used too.
package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

const (
	// DefaultMode lets the owner and the group of a unix socket connect.
	DefaultMode fs.FileMode = 0o660
	// Bounces is the name of the socket for bounces. It speaks LMTP, so it is never a milter's.
	Bounces = "bounces"
	// probeTimeout is the longest time for checking whether a process serves a unix socket.
	probeTimeout = 2 * time.Second
)

// Config says where to listen. Address is one of
//
//	inet:HOST:PORT   inet6:[HOST]:PORT   (also inet:PORT@HOST, as Sendmail writes it)
//	unix:/PATH       (also local:/PATH)
//	systemd:NAME     the sockets that systemd passed under this name (FileDescriptorName=)
//	systemd:         every socket that systemd passed, except that named Bounces
type Config struct {
	Address string
	// Mode and Group are the mode and group of the file of a unix socket. The defaults are
	// DefaultMode and the group of the process. Group is a name or a number.
	Mode  fs.FileMode
	Group string
	// ServerFirst says that the server greets the client (LMTP), instead of waiting for its first octets
	// (milter).
	ServerFirst bool
	// Sockets are the sockets that systemd passed, as returned by Systemd.
	Sockets map[string][]net.Listener
}

// Systemd returns the sockets that systemd passed to this process, by name. It must be called at
// most once in a process.
func Systemd() (map[string][]net.Listener, error) {
	sockets, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("milter: sockets passed by systemd: %w", err)
	}
	return sockets, nil
}

// Listen returns the listeners of c.Address. There is one listener, unless systemd passed
// several sockets.
func (c Config) Listen() ([]net.Listener, error) {
	scheme, rest, _ := strings.Cut(c.Address, ":")
	var ln net.Listener
	var err error
	switch scheme {
	case "inet":
		ln, err = c.listenNet("tcp", hostPort(rest))
	case "inet6":
		ln, err = c.listenNet("tcp6", hostPort(rest))
	case "unix", "local":
		ln, err = c.listenUnix(rest)
	case "systemd":
		return c.listenSystemd(rest)
	default:
		err = errors.New("want inet:HOST:PORT, inet6:[HOST]:PORT, unix:/PATH or systemd:NAME")
	}
	if err != nil {
		return nil, fmt.Errorf("milter: listen %s: %w", c.Address, err)
	}
	return []net.Listener{ln}, nil
}

// hostPort turns PORT@HOST, as Sendmail writes it, into HOST:PORT.
func hostPort(s string) string {
	if port, host, ok := strings.Cut(s, "@"); ok {
		return net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return s
}

func (c Config) listenNet(network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	if network != "unix" {
		// With -1, package net does not set the keep-alive of each connection, which takes four
		// system calls. The connections inherit it from the listener.
		lc = net.ListenConfig{KeepAlive: -1, Control: setTCP(c.ServerFirst)}
	}
	ln, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, hint(err)
	}
	return ln, nil
}

// tcpOption is an option of a socket.
type tcpOption struct{ level, option, value int }

// tcpOptions are options that a connection inherits from the listener. systemOptions has those that
// only some systems know.
var tcpOptions = [...]tcpOption{
	// An MTA on a host that is gone is noticed after 150 s. These are the values of package net.
	{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
	{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},
	{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15},
	{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 9},
}

// setTCP returns a function that sets the options of a listener. They only save time, so an error is
// ignored.
func setTCP(serverFirst bool) func(_, _ string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			options := tcpOptions[:]
			if !serverFirst {
				options = append(options, systemOptions...)
			}
			for _, o := range options {
				_ = syscall.SetsockoptInt(int(fd), o.level, o.option, o.value)
			}
		})
	}
}

// hint removes the text that package net adds to an error, and appends a question that points to
// the usual cause.
func hint(err error) error {
	var oe *net.OpError
	if errors.As(err, &oe) {
		err = oe.Err
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case syscall.EADDRINUSE:
		return fmt.Errorf("%w; is another sekimori running? \"ss -ltnpx\" shows which program has it", errno)
	case syscall.EACCES, syscall.EPERM:
		return fmt.Errorf("%w; the daemon's user must be able to write in the directory of a unix socket, and needs root's rights for a port below 1024", errno)
	case syscall.EADDRNOTAVAIL:
		return fmt.Errorf("%w; is the address one of this host's?", errno)
	case syscall.ENOENT:
		return fmt.Errorf("%w; make the directory, writable for the daemon's user", errno)
	}
	return errno
}

func (c Config) listenSystemd(name string) ([]net.Listener, error) {
	var out []net.Listener
	for n, listeners := range c.Sockets {
		if name == "" && n != Bounces || n == name {
			out = append(out, listeners...)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("milter: listen %s: systemd passed no such socket; is the .socket unit enabled, with FileDescriptorName=%s?",
			c.Address, name)
	}
	return out, nil
}

func (c Config) listenUnix(path string) (net.Listener, error) {
	if path == "" {
		return nil, errors.New("no path")
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// Until the method permit sets the mode, the umask decides the mode. With a umask of 022 or
	// stricter only the owner can connect meanwhile, because connecting needs write permission.
	// Close removes the file.
	ln, err := c.listenNet("unix", path)
	if err != nil {
		return nil, err
	}
	if err := c.permit(path); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// removeStale removes the file of a socket that a killed process left behind. It returns an
// error if a process still serves the socket, or if the file is not a socket.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("the path exists and is not a socket; remove it or choose another")
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		_ = conn.Close()
		return hint(syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot tell whether the socket is in use: %w", err)
	}
	return os.Remove(path)
}

// permit sets the group and mode of the socket file. It sets the group first, because otherwise
// the mode would for a moment let a wrong group connect.
func (c Config) permit(path string) error {
	if c.Group != "" {
		gid, err := groupID(c.Group)
		if err != nil {
			return err
		}
		if err := os.Chown(path, -1, gid); err != nil {
			return fmt.Errorf("group %s: %w; the daemon's user can give its socket only to a group that it is in: usermod -aG %s USER, then restart it",
				c.Group, err, c.Group)
		}
	}
	mode := c.Mode
	if mode == 0 {
		mode = DefaultMode
	}
	return os.Chmod(path, mode)
}

func groupID(name string) (int, error) {
	if gid, err := strconv.Atoi(name); err == nil && gid >= 0 {
		return gid, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("this host has no group %q; write the group of the MTA (Debian's Postfix: postfix), or make the group", name)
	}
	return strconv.Atoi(g.Gid)
}
