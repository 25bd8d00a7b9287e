package cluster

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestServer(t *testing.T) {
	c := Start(t, Options{})
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
