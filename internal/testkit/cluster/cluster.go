// Package cluster runs a private PostgreSQL server for a test: the one that Debian installs, in a
// directory of its own, on a unix socket and on a random address of 127.0.0.0/8. The server and its
// directory go with the test, also if the test process is killed.
package cluster

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/testkit/loopback"
)

// The role that owns every database of [Cluster.Database].
const (
	Role     = "sekimori"
	Password = "Pa55word-of-the-test"
)

// Options says how the server differs from the usual one of a test.
type Options struct {
	// Durable makes the server wait for the disk at each commit, as in production. Without it, a
	// commit survives kill -9, but not a power failure.
	Durable bool
	// Settings are lines of postgresql.conf.
	Settings []string
}

// Cluster is a private server.
type Cluster struct {
	dir, bin   string
	host, port string
	credential *syscall.Credential // nil: the test does not run as root, and neither does the server
	databases  int
}

// Start starts a server. It skips the test if PostgreSQL is not installed, and fails if CI is true.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	return start(t, o, programs())
}

// start is Start with the programs in a directory; "" means that there are none.
func start(t testing.TB, o Options, bin string) *Cluster {
	t.Helper()
	if bin == "" {
		const missing = "PostgreSQL is not installed: apt-get install postgresql-15"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skipf("%s", missing)
	}
	// t.TempDir would be closed to the user of the server.
	dir, err := os.MkdirTemp("", "sekimori-pg-")
	check(t, err)
	c := &Cluster{dir: dir, bin: bin}
	if c.host, c.port, err = net.SplitHostPort(loopback.Address(t)); err != nil {
		t.Fatal(err)
	}
	c.leash(t)
	t.Cleanup(func() { c.tellLog(t) })
	if os.Getuid() == 0 {
		c.credential = unprivileged(t)
		check(t, os.Chown(dir, int(c.credential.Uid), int(c.credential.Gid)))
	}
	c.run(t, "initdb", "-D", c.data(), "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=4",
		"--auth-local=trust", "--auth-host=scram-sha-256")
	c.configure(t, o)
	c.Up(t)
	c.SQL(t, "postgres", "CREATE ROLE "+Role+" LOGIN PASSWORD '"+Password+"'")
	return c
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tellLog shows the end of the server's log if the test has failed.
func (c *Cluster) tellLog(t testing.TB) {
	t.Helper()
	if text, err := os.ReadFile(filepath.Join(c.dir, "log")); err == nil && t.Failed() {
		t.Logf("the end of PostgreSQL's log:\n%s", text[max(0, len(text)-4096):])
	}
}

// programs returns the directory of the newest PostgreSQL's programs, or "" if there is none.
func programs() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }))
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

// unprivileged returns the ids of the user postgres, or of nobody. The server refuses to run as root.
func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// leashScript waits until its standard input ends, which it does when the test process ends in
// whatever way. Then it ends the server at once and removes the directory. It ignores signals,
// because an interrupt goes to all processes of the terminal.
const leashScript = `trap '' HUP INT TERM
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -CONT "$pid" && kill -QUIT "$pid" && while kill -0 "$pid"; do sleep 0.02; done
umount "$1/small"
rm -rf "$1"`

// leash ends the server with the test or the test process.
func (c *Cluster) leash(t testing.TB) {
	t.Helper()
	cmd := exec.Command("sh", "-c", leashScript, "leash", c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it must live on if the test's group is killed
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	check(t, err)
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) configure(t testing.TB, o Options) {
	t.Helper()
	c.certify(t)
	lines := append([]string{
		"listen_addresses = '" + c.host + "'", "port = " + c.port, "unix_socket_directories = '" + c.dir + "'",
		"ssl = on", "ssl_cert_file = '" + c.CA() + "'", "ssl_key_file = '" + filepath.Join(c.dir, "key.pem") + "'",
		"shared_buffers = 64MB", "max_connections = 60", "min_wal_size = 8MB", "max_wal_size = 256MB", "log_min_messages = warning",
		"log_line_prefix = '%m [%p] '", fmt.Sprintf("fsync = %t", o.Durable), fmt.Sprintf("full_page_writes = %t", o.Durable),
	}, o.Settings...)
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = io.WriteString(f, strings.Join(lines, "\n")+"\n")
	check(t, errors.Join(err, f.Close()))
}

// command prepares a program of PostgreSQL, to run as the server's user.
func (c *Cluster) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, program), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + c.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.credential}
	return cmd
}

func (c *Cluster) run(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := c.command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}

// Database creates an empty database that belongs to Role, and returns its URL without the password.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	c.databases++
	return c.create(t, fmt.Sprintf("test%d", c.databases), "")
}

func (c *Cluster) create(t testing.TB, name, options string) string {
	t.Helper()
	// Template template0 is the only one that is empty for sure.
	c.SQL(t, "postgres", "CREATE DATABASE "+name+" OWNER "+Role+" TEMPLATE template0"+options)
	u := url.URL{Scheme: "postgres", User: url.User(Role), Host: c.Address(), Path: "/" + name, RawQuery: "sslmode=disable"}
	return u.String()
}

// Address returns the host:port of the server.
func (c *Cluster) Address() string { return net.JoinHostPort(c.host, c.port) }

// Socket returns the URL of a database over the unix socket, where no password is asked for.
func (c *Cluster) Socket(database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {c.dir}, "port": {c.port}, "user": {Role}}.Encode()
}

// Name returns the name of the database that a URL ends with.
func Name(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(u.Path, "/")
}

// SQL executes statements as superuser and returns the values, by lines and "|".
func (c *Cluster) SQL(t testing.TB, database, statements string) string {
	t.Helper()
	return strings.TrimSpace(c.run(t, "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", c.dir, "-p", c.port, "-U", "postgres",
		"-d", database, "-c", statements))
}

// Up starts the server after Down or Kill, and waits until it answers.
func (c *Cluster) Up(t testing.TB) {
	t.Helper()
	cmd := c.command("pg_ctl", "start", "-D", c.data(), "-l", filepath.Join(c.dir, "log"), "-w", "-t", "120", "-s")
	if out, err := cmd.CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
		t.Fatalf("pg_ctl start: %v\n%s%s", err, out, log)
	}
}

// Down stops the server in order, as "systemctl stop" does. Connections are closed.
func (c *Cluster) Down(t testing.TB) {
	t.Helper()
	c.run(t, "pg_ctl", "stop", "-D", c.data(), "-m", "fast", "-w", "-t", "120", "-s")
}

// Kill kills every process of the server with SIGKILL, and waits until they are gone.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	all := c.processes(t)
	c.signal(t, all, syscall.SIGKILL)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		all = slices.DeleteFunc(all, func(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
		if len(all) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes %v of PostgreSQL survive SIGKILL", all)
		}
	}
}

// Freeze stops every process of the server without ending it, until Thaw: it accepts connections,
// and answers nothing.
func (c *Cluster) Freeze(t testing.TB) {
	t.Helper()
	c.signal(t, c.processes(t), syscall.SIGSTOP)
}

// Thaw lets the server go on after Freeze.
func (c *Cluster) Thaw(t testing.TB) {
	t.Helper()
	c.signal(t, c.processes(t), syscall.SIGCONT)
}

func (c *Cluster) signal(t testing.TB, all []int, s syscall.Signal) {
	t.Helper()
	for _, pid := range all {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatalf("%v to process %d: %v", s, pid, err)
		}
	}
}

// processes returns the server's processes, the first one (the postmaster) before those that it
// started.
func (c *Cluster) processes(t testing.TB) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	check(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || pid < 2 {
		t.Fatalf("postmaster.pid begins with %q", first)
	}
	// pgrep exits with 1 if there are none. A list of every process would not do: one wrong condition here,
	// as the mutation tester makes, and the whole machine gets the signal.
	out, err := exec.Command("pgrep", "-P", first).Output()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	all := []int{pid}
	for line := range strings.Lines(string(out)) {
		child, err := strconv.Atoi(strings.TrimSpace(line))
		check(t, err)
		all = append(all, child)
	}
	return all
}
