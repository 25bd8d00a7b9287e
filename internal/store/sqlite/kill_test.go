package sqlite

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// writerEnv names the database that a child process of the tests writes to.
const writerEnv = "SEKIMORI_TEST_SQLITE_WRITER"

// TestWriter is the child process of TestKill: it adds batches and prints a line after each.
func TestWriter(t *testing.T) {
	path := os.Getenv(writerEnv)
	if path == "" {
		t.Skip("this is the child process of TestKill")
	}
	d, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		fill(t, d, fmt.Sprint(os.Getpid(), "-", n), 40)
		fmt.Println("added")
	}
}

// TestKill kills a writing process again and again. Each batch that it was told is stored must be
// there, and no batch in part.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	told := int64(0)
	for round := range 4 {
		child := exec.Command(os.Args[0], "-test.run=^TestWriter$", "-test.count=1")
		child.Env = append(os.Environ(), writerEnv+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 3+round*7 && lines.Scan(); n++ {
			if lines.Text() != "added" {
				t.Fatalf("the child says %q", lines.Text())
			}
			told++
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before it died
			if lines.Text() == "added" {
				told++
			}
		}
		_ = child.Wait()
		d := openAt(t, path)
		n := messages(t, d)
		// The batch that was stored last may not have been told any more.
		if n%40 != 0 || n < told*40 || n > (told+int64(round)+1)*40 {
			t.Fatalf("round %d: %d messages, but %d batches of 40 were told", round, n, told)
		}
		// The ledger of a batch is stored with its rows, or not at all.
		if rows, totals, authors := inLedger(t, d); rows != n/40 || totals != n/40 || authors != n/40 {
			t.Fatalf("round %d: %d batches are stored, and the ledger counts %d, %d and %d messages", round, n/40, rows, totals, authors)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
