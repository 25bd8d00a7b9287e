package cluster

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/testkit/recorder"
)

func TestServer(t *testing.T) {
	c := Start(t, Options{Durable: true, Settings: []string{"work_mem = 5MB", "max_connections = 33"}})
	clients(t, c)
	rawURL := c.Database(t)
	name := Name(rawURL)
	c.SQL(t, name, "CREATE TABLE word (w text); INSERT INTO word VALUES ('kept')")
	for what, end := range map[string]func(testing.TB){"Kill": c.Kill, "Down": c.Down} {
		end(t)
		if conn, err := net.Dial("tcp", c.Address()); err == nil {
			conn.Close()
			t.Errorf("%s: the server still listens", what)
		}
		c.Up(t)
		if got := c.SQL(t, name, "SELECT w FROM word"); got != "kept" {
			t.Errorf("after %s: %q", what, got)
		}
	}
	c.Slow(t, name, 150*time.Millisecond, "word")
	began := time.Now()
	c.SQL(t, name, "INSERT INTO word VALUES ('late')")
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("an insert took %s although the table is slow", took)
	}
	c.Slow(t, name, 0, "word")
	if got := c.SQL(t, name, "SELECT count(*) FROM pg_trigger"); got != "0" {
		t.Errorf("%s triggers are left", got)
	}
}

// show returns the values of settings.
func show(t *testing.T, c *Cluster, names ...string) string {
	t.Helper()
	var values []string
	for _, name := range names {
		values = append(values, c.SQL(t, "postgres", "SHOW "+name))
	}
	return strings.Join(values, " ")
}

// psql runs a statement as a client of a database has it, and returns what psql says.
func (c *Cluster) psql(url, statement, password string) string {
	cmd := c.command("psql", "-X", "-A", "-t", "-q", "-w", url, "-c", statement)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	out, _ := cmd.CombinedOutput() // an error is in the output
	return strings.TrimSpace(string(out))
}

// clients checks how clients reach a server, whom it lets in, and its settings.
func clients(t *testing.T, c *Cluster) {
	t.Helper()
	if got := show(t, c, "fsync", "full_page_writes", "work_mem", "max_connections", "listen_addresses", "port", "ssl", "server_encoding", "wal_segment_size",
		"shared_buffers", "min_wal_size", "max_wal_size", "log_min_messages"); got != "on on 5MB 33 "+c.host+" "+c.port+" on UTF8 4MB 64MB 8MB 256MB warning" {
		t.Errorf("settings: %s", got)
	}
	first, second := c.Database(t), c.Database(t)
	if want := "postgres://sekimori@" + c.Address() + "/test"; first != want+"1?sslmode=disable" || second != want+"2?sslmode=disable" || Name(second) != "test2" {
		t.Errorf("%s, %s", first, second)
	}
	verified := strings.Replace(second, "sslmode=disable", "sslmode=verify-full&sslrootcert="+c.CA(), 1)
	const who = "SELECT current_user, current_database()"
	for _, tt := range []struct{ url, password, want string }{
		{first, Password, "sekimori|test1"}, {verified, Password, "sekimori|test2"}, {c.Socket("test2"), "", "sekimori|test2"},
		{first, "wrong", "password authentication failed"}, {first, "", "no password supplied"},
	} {
		if got := c.psql(tt.url, who, tt.password); got != tt.want && (!strings.Contains(tt.want, " ") || !strings.Contains(got, tt.want)) {
			t.Errorf("%s with %q: %s, want %s", tt.url, tt.password, got, tt.want)
		}
	}
	closed := t.TempDir() // psql warns if it may not enter the directory stood in
	check(t, os.Chmod(closed, 0o700))
	t.Chdir(closed)
	if got := c.SQL(t, "test1", "SELECT 1"); got != "1" {
		t.Errorf("in a closed directory: %s", got)
	}
	if got := c.psql(verified, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", Password); got != "t" {
		t.Errorf("TLS: %s", got)
	}
	if got := c.SQL(t, "postgres", "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname LIKE 'test%' ORDER BY 1; SELECT 'a', 2"); got !=
		"test1|sekimori\ntest2|sekimori\na|2" {
		t.Errorf("databases: %s", got)
	}
	if got := recorder.Run(t, func(tb testing.TB) { c.SQL(tb, "postgres", "SELECT 1; SELECT nothing") }); !strings.HasPrefix(got, "fatal: psql: exit status") ||
		!strings.Contains(got, `column "nothing" does not exist`) {
		t.Errorf("a wrong statement: %s", got)
	}
	if got := recorder.Run(t, func(tb testing.TB) { c.Up(tb) }); !strings.HasPrefix(got, "fatal: pg_ctl start: exit status") {
		t.Errorf("a server that runs already: %s", got)
	}
	if got := c.processes(t); len(got) < 4 { // the postmaster, and at least its checkpointer and writers
		t.Errorf("processes: %v", got)
	}
	c.Freeze(t)
	for _, pid := range c.processes(t) {
		state := ""
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) { // a process stops when its turn comes
			text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
			if state = string(text); err != nil || strings.Contains(state, ") T ") || strings.Contains(state, ") Z ") {
				state = ""
				break
			}
		}
		if state != "" {
			t.Errorf("process %d is not stopped: %s", pid, state)
		}
	}
	c.Thaw(t)
	if got := c.SQL(t, "test1", "SELECT 1"); got != "1" {
		t.Errorf("after Thaw: %s", got)
	}
	small := ""
	words := recorder.Run(t, func(tb testing.TB) {
		url, dir := c.SmallDatabase(tb, 24)
		if Name(url) != "small" || dir != filepath.Join(c.dir, "small") {
			tb.Errorf("%s in %s", url, dir)
		}
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil || fs.Blocks*uint64(fs.Bsize) != 24<<20 {
			tb.Errorf("%v, %+v", err, fs)
		}
		c.SQL(tb, "small", "CREATE TABLE t (a text)")
		small = c.SQL(tb, "small", "SELECT pg_get_userbyid(datdba), spcname FROM pg_database JOIN pg_tablespace s ON s.oid = dattablespace WHERE datname = 'small'")
		fill := filepath.Join(dir, "fill")
		defer os.Remove(fill) // a server whose disk is full does not begin after a crash
		if err := os.WriteFile(fill, make([]byte, 24<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			tb.Errorf("24 MiB beside a database: %v", err)
		}
		c.SQL(tb, "small", "INSERT INTO t SELECT n FROM generate_series(1, 10000) n")
	})
	if skipped := strings.HasPrefix(words, "skip: "); !skipped && (small != "sekimori|small" || !strings.Contains(words, "No space left on device")) || strings.Contains(words, "error: ") {
		t.Errorf("a small file system: %s: %s", small, words)
	}
}

// TestName has every form of a URL.
func TestName(t *testing.T) {
	for url, want := range map[string]string{"postgres://u@h:1/test1?sslmode=disable": "test1", "postgres:///test2?host=/x": "test2", "postgres://h": "", "%": ""} {
		if got := Name(url); got != want {
			t.Errorf("%s: %q", url, got)
		}
	}
	if a, b := version("/usr/lib/postgresql/9/bin/initdb"), version("/usr/lib/postgresql/15/bin/initdb"); a != 9 || b != 15 {
		t.Errorf("versions %d and %d", a, b)
	}
}

// TestProcesses reads files in which there is no process.
func TestProcesses(t *testing.T) {
	c := &Cluster{dir: t.TempDir()}
	if err := os.Mkdir(c.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"-": "no such file", "": `begins with ""`, "x\n5\n": `begins with "x"`, "1\n": `begins with "1"`, "-5\n": `begins with "-5"`,
		"0": `begins with "0"`} {
		if text != "-" {
			if err := os.WriteFile(filepath.Join(c.data(), "postmaster.pid"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.RemoveAll(filepath.Join(c.data(), "postmaster.pid")); err != nil {
			t.Fatal(err)
		}
		if got := recorder.Run(t, func(tb testing.TB) { c.processes(tb) }); !strings.HasPrefix(got, "fatal: ") || !strings.Contains(got, want) {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// TestRefuses has what a helper says where it can do nothing.
func TestRefuses(t *testing.T) {
	c := &Cluster{dir: t.TempDir()}
	if got := recorder.Run(t, func(tb testing.TB) { c.SmallDatabase(tb, 1) }); got != "skip: only root can mount a small file system" {
		t.Error(got)
	}
	if err := os.Mkdir(c.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.data(), "postmaster.pid"), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("cat") // it waits for its input
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if all := c.processes(t); all[0] != os.Getpid() || !slices.Contains(all[1:], child.Process.Pid) {
		t.Errorf("%v: not %d and its child %d", all, os.Getpid(), child.Process.Pid)
	}
	if err := errors.Join(in.Close(), child.Wait()); err != nil {
		t.Error(err)
	}
	t.Setenv("PATH", "")
	if got := recorder.Run(t, func(tb testing.TB) { c.processes(tb) }); !strings.HasPrefix(got, "fatal: exec: \"pgrep\"") {
		t.Error(got)
	}
}

// TestTellLog checks that the end of the log is shown if a test has failed.
func TestTellLog(t *testing.T) {
	c := &Cluster{dir: t.TempDir()}
	text := strings.Repeat("x", 4096)
	tell := func(log string) string {
		if log != "" {
			check(t, os.WriteFile(filepath.Join(c.dir, "log"), []byte(log), 0o600))
		}
		return recorder.Run(t, func(tb testing.TB) {
			c.tellLog(tb)
			tb.Cleanup(func() { c.tellLog(tb) })
			check(tb, errors.New("no room"))
		})
	}
	for log, want := range map[string]string{"": "", "short": "\nlog: the end of PostgreSQL's log:\nshort", "yy" + text: "\nlog: the end of PostgreSQL's log:\n" + text} {
		check(t, os.RemoveAll(filepath.Join(c.dir, "log")))
		if got := tell(log); got != "fatal: no room"+want {
			t.Errorf("%d octets: %s", len(log), got)
		}
	}
	if got := recorder.Run(t, func(tb testing.TB) { check(tb, nil) }); got != "" {
		t.Error(got)
	}
}

// TestStartFails starts a server where PostgreSQL is missing, and where its first program fails.
func TestStartFails(t *testing.T) {
	const missing = "PostgreSQL is not installed: apt-get install postgresql-15"
	for ci, want := range map[string]string{"": "skip: " + missing, "true": "fatal: " + missing} {
		t.Setenv("CI", ci)
		if got := recorder.Run(t, func(tb testing.TB) { start(tb, Options{}, "") }); got != want {
			t.Errorf("CI %q: %s", ci, got)
		}
	}
	bin := t.TempDir()
	for d := bin; d != os.TempDir() && d != "/"; d = filepath.Dir(d) { // the server runs as another user
		check(t, os.Chmod(d, 0o755))
	}
	check(t, os.WriteFile(filepath.Join(bin, "initdb"), []byte("#!/bin/sh\necho logged >log\necho said\nexit 3\n"), 0o755)) //nolint:gosec // a program
	if got := recorder.Run(t, func(tb testing.TB) { start(tb, Options{}, bin) }); got != "fatal: initdb: exit status 3\nsaid\n\nlog: the end of PostgreSQL's log:\nlogged\n" {
		t.Errorf("%q", got)
	}
	t.Setenv("PATH", "")
	c := &Cluster{dir: t.TempDir(), credential: &syscall.Credential{}}
	if got := recorder.Run(t, func(tb testing.TB) { c.SmallDatabase(tb, 1) }); !strings.HasPrefix(got, "skip: a small file system cannot be mounted here: exec: ") {
		t.Error(got)
	}
}

// TestEndsWithTheProcess kills a test process that has a server.
func TestEndsWithTheProcess(t *testing.T) {
	const variable = "SEKIMORI_TEST_CLUSTER"
	if os.Getenv(variable) != "" {
		c := Start(t, Options{})
		os.Stdout.WriteString(c.dir + " " + c.Address() + "\n")
		select {}
	}
	if programs() == "" && os.Getenv("CI") != "true" {
		t.Skip("PostgreSQL is not installed: apt-get install postgresql-15")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestEndsWithTheProcess$")
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	dir, address, _ := strings.Cut(strings.TrimSpace(line), " ")
	if address == "" {
		t.Fatalf("the process said %q", line)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		_, gone := os.Stat(dir)
		if err != nil && os.IsNotExist(gone) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute after its process was killed, the server still listens (%v) or has its directory (%v)", err == nil, gone == nil)
		}
	}
}
