// Package e2e drives the real sekimori binary behind a real Postfix and a real
// Sendmail: mail goes in by SMTP, and what counts is what the client was told,
// what the MTA delivered or held, and what the daemon logged and counted.
//
// One Postfix instance with its own configuration, queue and data directories
// serves the whole run. It has many smtpd listeners ("slots"), each with its
// own milter address, so that a test can put a daemon with its own
// configuration behind its own listener and run beside the others. Client
// addresses, names and HELO are played by XCLIENT. Sendmail is arranged in the
// same way; sendmail_test.go says what differs.
//
// Everything else listens on one address of 127.0.0.0/8 drawn at random, so
// that two runs on one machine do not meet.
//
// The daemon is built once, with the race detector if the test itself has it.
// A race it reports, a panic it logs or a dirty exit fails the test that owns
// the daemon.
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
	dir    string // everything the run writes lives below
	host   string // the loopback address everything listens on
	binary string
	// buildErr is the daemon's: the harness is tested without one.
	buildErr error
	race     bool // the daemon was built with the race detector

	postfix  *postfix
	sendmail *sendmail // nil until a test asks for it
	dns      *zone.Server
	keys     keys
	inbox    *inbox
	spawn    chan func()

	mu     sync.Mutex
	common map[chan slot]*mx // the daemons with the default configuration, by the MTA's listeners
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

// shared returns the suite, made when the first test asks for it: only what
// happens within a test is seen by the go command's cache of test results.
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

// environment says in words what is missing for these tests to run.
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
	// Unix socket paths must stay below 108 octets, so t.TempDir is too deep;
	// and Postfix's users must be able to walk there.
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

// close ends everything; an error is what the shared daemon did wrong.
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

// build compiles the daemon. Every source file is opened here first: the go
// command then knows that this test's result depends on them, and does not
// answer from its cache after the daemon has changed.
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

// spawner runs functions on one OS thread that lives as long as the process:
// a child's parent-death signal is tied to the thread that started it.
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

// start runs cmd so that it dies with this process, however that ends.
func (s *suite) start(cmd *exec.Cmd) error {
	done := make(chan error)
	s.spawn <- func() { done <- cmd.Start() }
	return <-done
}

// patience is how long anything that must happen may take. It is only ever
// used up by a failing test.
const patience = 20 * time.Second

// eventually polls until ok, and fails the test when patience ends first.
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
