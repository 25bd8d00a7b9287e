package app

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/policy"
	"sekimori/internal/topology"
)

// TestLongMonitor checks how long the daemon says that it has been in monitor mode. A reload that
// keeps the mode makes no difference. After a reload that changes the mode, the time begins at 0.
func TestLongMonitor(t *testing.T) {
	cfg := testConfig(t)
	cfg.Mode = policy.Monitor
	begin := time.Now()
	var passed atomic.Int64 // the daemon reads the clock in goroutines of its own
	a, _, stop := running(t, cfg, func(o *Options) {
		o.Now = func() time.Time { return begin.Add(time.Duration(passed.Load())) }
	})
	reload := func(mode policy.Mode) {
		changed := *cfg
		changed.Mode = mode
		if err := a.Reload(func() (*config.Config, error) { return &changed, nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		mode policy.Mode
		want time.Duration
	}{{policy.Monitor, time.Hour}, {policy.Monitor, 2 * time.Hour}, {policy.Enforce, 0}, {policy.Monitor, 0}} {
		passed.Add(int64(time.Hour))
		reload(step.mode)
		if got := a.monitoring(); got != step.want {
			t.Errorf("after a reload in mode %s: %v, want %v", step.mode, got, step.want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestWatchedProblems checks that the daemon looks again and again whether the file of a socket is
// gone, and how long it has been in monitor mode.
func TestWatchedProblems(t *testing.T) {
	file := filepath.Join(t.TempDir(), "milter.sock")
	cfg := testConfig(t)
	cfg.Listen = []config.Listener{{Address: "unix:" + file}}
	cfg.Mode = policy.Monitor
	cfg.Limits.MaxSessions = 1000
	o := options(testWriter{t})
	o.OpenFiles = func() uint64 { return 1000 }
	a, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	if !a.topology.Holds(topology.FewDescriptors) || a.topology.Holds(topology.SocketLost) {
		t.Error("before the socket is lost, only the descriptors are a problem")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		a.stopped, a.monitorSince = make(chan struct{}), o.Now().Add(-topology.LongTime)
		go a.watchSockets()
		time.Sleep(watchEvery)
		synctest.Wait()
		close(a.stopped)
	})
	for _, k := range []topology.Kind{topology.SocketLost, topology.LongMonitor} {
		if !a.topology.Holds(k) {
			t.Errorf("%s does not hold", k)
		}
	}
	a.unwind(&a.steps)
}

// testWriter writes the log into the output of the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b))
	return len(b), nil
}
