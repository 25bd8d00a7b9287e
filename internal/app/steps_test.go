package app

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/testkit/logs"
)

// stepLog records which steps were begun and undone.
type stepLog struct {
	begun, undone []string
	fail          string // the name of the step that fails
}

var errStep = errors.New("the test says no")

func (s *stepLog) on(name string, undo bool) error {
	switch {
	case undo:
		s.undone = append(s.undone, name)
	case name == s.fail:
		return errStep
	default:
		s.begun = append(s.begun, name)
	}
	return nil
}

// leavesNothing reports whether the step has no undo function.
func leavesNothing(name string) bool { return name == "metrics" || name == "console" }

// TestFailedStepUndoesTheOthers checks, for every step of the start, that if it fails, exactly
// the steps before it are undone, the last one first.
func TestFailedStepUndoesTheOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.sock")
	cfg := testConfig(t)
	cfg.Policy.Recipients.File = filepath.Join(t.TempDir(), "opted-out")
	if err := os.WriteFile(cfg.Policy.Recipients.File, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Listen = []config.Listener{{Address: "unix:" + path}, {Address: "inet:127.0.0.1:0"}}
	cfg.Store.URL = "sqlite:" + filepath.Join(t.TempDir(), "store.db")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Admin.Listen = free.Addr().String()
	_ = free.Close()
	start := func(fail string) (*App, *stepLog, error) {
		s := &stepLog{fail: fail}
		o := options(&logs.Buffer{})
		o.onStep = s.on
		a, err := New(cfg, o)
		return a, s, err
	}

	a, all, err := start("")
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	a.Stop(t.Context())
	want := []string{
		"log", "metrics", "store", "console", "former configurations", "configuration", "DNS resolver", "recipients' consent",
		"sender of reports", "listen unix:" + path, "listen inet:127.0.0.1:0", "admin address",
	}
	if !slices.Equal(all.begun, want) {
		t.Fatalf("steps %q, want %q", all.begun, want)
	}
	end := []string{
		"watch over sockets", "heartbeat", "status of reports", "console", "configuration", "admin address", "listen inet:127.0.0.1:0", "listen unix:" + path,
		"sender of reports", "recipients' consent", "DNS resolver", "former configurations", "store", "log",
	}
	if !slices.Equal(all.undone, end) {
		t.Errorf("at the end %q, want %q", all.undone, end)
	}
	for i, name := range want {
		_, s, err := start(name)
		if !errors.Is(err, errStep) {
			t.Errorf("%s: %v", name, err)
		}
		var begun []string
		for _, b := range want[:i] {
			if b != "configuration" && !leavesNothing(b) {
				begun = append(begun, b)
			}
		}
		slices.Reverse(begun)
		if !slices.Equal(s.undone, begun) {
			t.Errorf("%s fails: undone %q, want %q", name, s.undone, begun)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s fails: the socket is left behind", name)
		}
		l, err := net.Listen("tcp", cfg.Admin.Listen)
		if err != nil {
			t.Fatalf("%s fails: %v", name, err)
		}
		_ = l.Close()
	}
}

// TestUndoError checks that if undoing a step fails, the error is logged with the name of the
// step, and the other steps are still undone.
func TestUndoError(t *testing.T) {
	a, log, stop := running(t, testConfig(t))
	a.Addrs()
	a.mu.Lock()
	undone := false
	a.steps = append(a.steps, step{"first", always(func() { undone = true })}, step{"second", func() error { return errStep }})
	a.mu.Unlock()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	got := log.Records(t, "clean-up failed")
	if len(got) != 1 || got[0]["step"] != "second" || got[0]["error"] != errStep.Error() || got[0]["level"] != "WARN" {
		t.Errorf("records %v", got)
	}
	if !undone {
		t.Error("the step before it was not undone")
	}
}

// TestUndoErrorOfFailedStart checks that the log is open after the first step, so that errors of
// undoing a failed start are logged too.
func TestUndoErrorOfFailedStart(t *testing.T) {
	var log logs.Buffer
	a := newApp(options(&log))
	err := a.begin(&a.steps, "log", func() (func() error, error) { return a.openLog(config.Default().Log) })
	if err != nil {
		t.Fatal(err)
	}
	a.steps = append(a.steps, step{"second", func() error { return errStep }})
	a.unwind(&a.steps)
	if got := log.Records(t, "clean-up failed"); len(got) != 1 || got[0]["step"] != "second" {
		t.Errorf("records %v", got)
	}
}
