// Package e2e runs the real sekimori binary as the milter of a real Postfix and a real Sendmail.
// The tests send mail by SMTP. They check the replies to the client, what the MTA delivered or
// held, and what the daemon logged and counted.
//
// One Postfix instance with its own configuration, queue and data directories serves the whole run.
// It has many smtpd listeners ("slots"), each with its own milter address. A test can therefore put
// a daemon with its own configuration behind its own listener, and tests can run in parallel.
// XCLIENT sets the client's address, name and HELO. Sendmail is set up in a similar way; the
// comments in sendmail_test.go describe the differences.
//
// The TCP and UDP sockets of Postfix, the daemons and the name servers are on one address of
// 127.0.0.0/8 that is chosen at random. Sendmail listens in a network namespace of its own. So two
// runs on one machine do not disturb each other.
//
// The daemon is built once, with the race detector if the test itself was built with it. If a
// daemon reports a data race, panics or exits with a failure, the test that started the daemon
// fails. If this happens to a daemon that several tests share, the whole run fails.
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

	bench "sekimori/internal/bench/postfix"
)

// suite is what all tests of a run share.
type suite struct {
	dir    string // the directory of all files that the run writes
	host   string // the loopback address of Postfix, the daemons and the name servers
	binary string
	// buildErr is the error of building the daemon. The tests of the harness itself run even if the
	// build failed.
	buildErr error
	race     bool // the daemon was built with the race detector

	postfix  *postfix
	sendmail *sendmail // nil until a test asks for it
	dns      *zone.Server
	keys     keys
	inbox    *inbox
	spawn    chan func()

	mu     sync.Mutex
	common map[chan slot]*mx // the shared daemons; the key is the channel of plain listeners of Postfix or of Sendmail (see sharedMX)
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

// shared returns the suite, and sets it up on the first call. TestMain does not set it up, because
// the go command's cache of test results notices only the files that are opened while a test runs.
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

// environment returns a sentence about the first thing that these tests need and that is missing,
// or "" if nothing is missing.
func environment() string {
	if runtime.GOOS != "linux" {
		return "they need Linux"
	}
	if os.Geteuid() != 0 {
		return "they must run as root: Postfix changes users"
	}
	for _, program := range []string{bench.Master, "postcat", "postqueue", "setsid", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	return ""
}

func (s *suite) open() error {
	// The path of a unix socket must be shorter than 108 octets, and a path below t.TempDir may be
	// longer. Postfix's users must also be able to enter the directory.
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

// close stops all programs and removes all files of the run. It returns an error if a shared daemon
// misbehaved.
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

// build compiles the daemon. It opens the source files first. The go command then knows that the
// test result depends on these files, and runs the test again after one of them has changed.
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

// spawner returns a channel of functions and runs these functions on one OS thread. This thread
// must live as long as the process: a child process gets its parent-death signal when the thread
// that started it ends.
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

// start starts cmd on the thread of spawner, which lives as long as this process. Linux sends a
// parent-death signal when the thread that started the program ends. On any other thread the
// program might be killed too early.
func (s *suite) start(cmd *exec.Cmd) error {
	done := make(chan error)
	s.spawn <- func() { done <- cmd.Start() }
	return <-done
}

// patience is the longest time that a test waits for something that must happen. Only a failing
// test waits that long.
const patience = 20 * time.Second

// eventually calls ok again and again until it returns true. It fails the test if that takes longer
// than patience.
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
