// Package e2e drives the real sekimori binary behind a real Postfix and a real
// Sendmail: mail goes in by SMTP, and what counts is what the client was told,
// what the MTA delivered or held, and what the daemon logged and counted.
//
// One Postfix instance with its own configuration, queue and data directories
// serves the whole run. It has many smtpd listeners ("slots"), each with its
// own milter address. So a test can put a daemon with its own configuration
// behind its own listener and run in parallel to the others. XCLIENT sets the
// client's address, name and HELO. Sendmail is set up in the same way;
// sendmail_test.go says what differs.
//
// All sockets are on one address of 127.0.0.0/8 that is drawn at random, so that
// two runs on one machine do not disturb each other.
//
// The daemon is built once, with the race detector if the test itself has it. A
// data race, a panic or an exit with a failure fails the test that started the
// daemon.
package e2e

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dns/zone"
)

// suite is what all tests of a run share.
type suite struct {
	dir    string // the directory of all files that the run writes
	host   string // the loopback address of all sockets
	binary string
	// buildErr is why the daemon could not be built. Tests of the harness do not
	// need the daemon.
	buildErr error
	race     bool // the daemon was built with the race detector

	postfix  *postfix
	sendmail *sendmail // nil until a test asks for it
	dns      *zone.Server
	keys     keys
	inbox    *inbox
	spawn    chan func()

	mu     sync.Mutex
	common map[chan slot]*mx // see defaultMX; the key holds the listeners of an MTA
}

var (
	run     suite
	prepare sync.Once
	failure error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := run.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// shared returns the suite. The first test that asks makes the suite, and not
// TestMain, because the go command's cache of test results notices only the files
// that are opened within a test.
func shared(t *testing.T) *suite {
	t.Helper()
	if missing := environment(); missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("end-to-end tests must run in CI, but %s", missing)
		}
		t.Skipf("end-to-end tests skipped: %s", missing)
	}
	prepare.Do(func() { failure = run.open() })
	if failure != nil {
		t.Fatal(failure)
	}
	return &run
}

// environment returns what these tests need and do not have, in words, or "".
func environment() string {
	if runtime.GOOS != "linux" {
		return "they need Linux"
	}
	if os.Geteuid() != 0 {
		return "they must run as root: Postfix changes users"
	}
	for _, program := range []string{postfixMaster, "postcat", "postqueue", "setsid", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	return ""
}

func (s *suite) open() error {
	// The path of a unix socket has less than 108 octets, and that of t.TempDir may
	// have more. Postfix's users must also be able to enter the directory.
	dir, err := os.MkdirTemp("/tmp", "seki")
	if err != nil {
		return err
	}
	s.dir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	s.host = fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	s.race = selfHasRace()
	s.spawn = spawner()
	s.common = map[chan slot]*mx{}
	s.inbox = newInbox(filepath.Join(dir, "mail", "inbox"))
	if s.keys, err = newKeys(); err != nil {
		return err
	}
	z, err := zone.Parse(zoneText(s.keys))
	if err != nil {
		return err
	}
	if s.dns, err = startDNS(z, net.JoinHostPort(s.host, "0")); err != nil {
		return err
	}

	var wg sync.WaitGroup
	var postfixErr error
	wg.Go(func() { s.buildErr = s.build() })
	wg.Go(func() {
		s.postfix, postfixErr = startPostfix(filepath.Join(dir, "pf"), s.host, filepath.Join(dir, "mail"))
	})
	wg.Wait()
	return postfixErr
}

// close ends everything. An error says what a shared daemon did wrong.
func (s *suite) close() (err error) {
	for _, m := range s.common {
		err = errors.Join(err, m.finish())
	}
	if s.sendmail != nil {
		err = errors.Join(err, s.sendmail.stop())
	}
	if s.postfix != nil {
		s.postfix.stop()
	}
	if s.dns != nil {
		err = errors.Join(err, s.dns.Close())
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// build compiles the daemon. It opens every source file first, so that the go
// command knows that this test's result depends on them, and does not take the
// result from its cache after the daemon has changed.
func (s *suite) build() error {
	root, err := repoRoot()
	if err != nil {
		return err
	}
	for _, top := range []string{"cmd", "internal", "configs", "go.mod", "go.sum"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			return f.Close()
		})
		if err != nil {
			return err
		}
	}
	s.binary = filepath.Join(s.dir, "sekimori")
	args := []string{"build", "-o", s.binary}
	if s.race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "sekimori/cmd/sekimori")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build sekimori/cmd/sekimori: %w\n%s", err, out)
	}
	return nil
}

func repoRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no go.mod above the test: %w", err)
}

func selfHasRace() bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	info, err := buildinfo.ReadFile(self)
	if err != nil {
		return false
	}
	for _, setting := range info.Settings {
		if setting.Key == "-race" && setting.Value == "true" {
			return true
		}
	}
	return false
}

// spawner runs functions on one OS thread that lives as long as the process,
// because a child gets its parent-death signal when the thread that started it
// ends.
func spawner() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}

// start starts cmd such that it dies with this process, however the process ends.
func (s *suite) start(cmd *exec.Cmd) error {
	done := make(chan error)
	s.spawn <- func() { done <- cmd.Start() }
	return <-done
}

// patience bounds the wait for anything that must happen. Only a failing test
// waits that long.
const patience = 20 * time.Second

// eventually polls until ok returns true. It fails the test after patience.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !within(patience, ok) {
		t.Fatalf("did not happen within %v: %s", patience, what)
	}
}

func within(limit time.Duration, ok func() bool) bool {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); ; <-ticker.C {
		if ok() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
