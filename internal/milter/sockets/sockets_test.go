package sockets_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/milter/sockets"
)

// listen listens on one address, with the defaults of Config.
func listen(address string) (net.Listener, error) {
	listeners, err := sockets.Config{Address: address}.Listen()
	if err != nil {
		return nil, err
	}
	return listeners[0], nil
}

func TestListenAddresses(t *testing.T) {
	for _, address := range []string{"inet:127.0.0.1:0", "inet:0@127.0.0.1", "inet6:[::1]:0", "inet6:0@[::1]"} {
		ln, err := listen(address)
		if err != nil {
			if strings.HasPrefix(address, "inet6") {
				t.Logf("no IPv6 here: %v", err)
				continue
			}
			t.Error(err)
			continue
		}
		_ = ln.Close()
	}
}

func TestListenErrorsSayWhatToDo(t *testing.T) {
	taken, err := listen("inet:127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ address, want string }{
		{"inet:" + taken.Addr().String(), "address already in use; is another sekimori running? \"ss -ltnpx\" shows which program has it"},
		{"inet:192.0.2.1:8891", "cannot assign requested address; is the address one of this host's?"},
		{"unix:" + file, "the path exists and is not a socket; remove it or choose another"},
		{"unix:" + filepath.Join(dir, "none", "sock"), "no such file or directory; make the directory, writable for the daemon's user"},
		{"unix:", "no path"},
		{"127.0.0.1:8891", "want inet:HOST:PORT, inet6:[HOST]:PORT, unix:/PATH or systemd:NAME"},
		{"", "want inet:HOST:PORT, inet6:[HOST]:PORT, unix:/PATH or systemd:NAME"},
		{"systemd:milter", "systemd passed no such socket; is the .socket unit enabled, with FileDescriptorName=milter?"},
	} {
		_, err := listen(tc.address)
		if want := "milter: listen " + tc.address + ": " + tc.want; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := listen("inet:nonsense"); err == nil || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	listeners, err := sockets.Config{Address: "unix:" + path, Mode: 0o600, Group: strconv.Itoa(os.Getgid())}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	// A socket that a process serves is not replaced.
	if _, err := listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "is another sekimori running?") {
		t.Error(err)
	}
	ln := listeners[0]
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	served, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = served.Close()
	_ = ln.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the socket file is still there:", err)
	}
}

func TestStaleUnixSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false) // the file stays, as after kill -9
	_ = old.Close()
	ln, err := listen("local:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != sockets.DefaultMode || info.Mode().Type() != fs.ModeSocket {
		t.Error(info, err)
	}
}

func TestUnixSocketOfAnUnknownGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "milter.sock")
	_, err := sockets.Config{Address: "unix:" + path, Group: "no-such-group"}.Listen()
	if err == nil || !strings.HasPrefix(err.Error(), "milter: listen unix:"+path+`: this host has no group "no-such-group"; write the group`) {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("a socket that is not served was left behind:", err)
	}
}

// TestSystemdSockets starts this test binary as another process and passes two sockets to it, as
// systemd does.
func TestSystemdSockets(t *testing.T) {
	if os.Getenv("LISTEN_FDS") != "" {
		t.Skip("sockets were passed to this very test")
	}
	var files []*os.File
	var addrs []string
	for range 3 {
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		file, err := ln.File()
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
		files = append(files, file)
		addrs = append(addrs, ln.Addr().String())
	}
	// LISTEN_PID must be the id of the new process, so a shell sets it to its own id and then
	// becomes the test binary.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run='^TestSystemdChild$' -test.v`, os.Args[0])
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "LISTEN_FDNAMES=milter:admin:bounces")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"milter " + addrs[0], "admin " + addrs[1], "bounces " + addrs[2], "all 2"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestSystemdChild(t *testing.T) {
	if os.Getenv("LISTEN_FDS") == "" {
		t.Skip("no sockets passed")
	}
	passed, err := sockets.Systemd()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"milter", "admin", sockets.Bounces} {
		listeners, err := sockets.Config{Address: "systemd:" + name, Sockets: passed}.Listen()
		if err != nil || len(listeners) != 1 {
			t.Fatal(listeners, err)
		}
		t.Log(name, listeners[0].Addr())
	}
	all, err := sockets.Config{Address: "systemd:", Sockets: passed}.Listen()
	t.Log("all", len(all), err)
}

// TestTCPOptions checks that a connection inherits its options from the listener, and is not accepted
// before its first octets have come.
func TestTCPOptions(t *testing.T) {
	ln, err := listen("inet:127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	mta, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mta.Close()
	_ = ln.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := ln.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("accepted before the first octet: %v", err)
	}
	_ = ln.(*net.TCPListener).SetDeadline(time.Time{})
	if _, err := mta.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct{ level, option, want int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 9},
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
	} {
		_ = raw.Control(func(fd uintptr) {
			if got, err := syscall.GetsockoptInt(int(fd), o.level, o.option); got != o.want || err != nil {
				t.Errorf("option %d.%d is %d (%v), want %d", o.level, o.option, got, err, o.want)
			}
		})
	}
}

// TestServerFirst checks that a server that greets gets a connection at once.
func TestServerFirst(t *testing.T) {
	listeners, err := sockets.Config{Address: "inet:127.0.0.1:0", ServerFirst: true}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ln := listeners[0].(*net.TCPListener)
	defer ln.Close()
	mta, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mta.Close()
	_ = ln.SetDeadline(time.Now().Add(900 * time.Millisecond)) // TCP_DEFER_ACCEPT takes a second
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.Close()
}
