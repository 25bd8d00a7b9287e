package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestGCPercent(t *testing.T) {
	for _, tt := range []struct {
		why  string
		live uint64
		want int
	}{
		{"at start", 0, 400},
		{"a small daemon", 5 << 20, 400},
		{"as much as the garbage", garbage, 100},
		{"in steps", garbage + 1<<20, 80},
		{"a full cache", 64 << 20, 40},
		{"a huge cache", 4 << 30, 40},
	} {
		if got := gcPercent(tt.live); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.why, got, tt.want)
		}
	}
	for live := uint64(1 << 20); live < 60<<20; live += 1 << 20 {
		if grows := live * uint64(gcPercent(live)) / 100; grows > garbage {
			t.Errorf("%d octets live grow by %d", live, grows)
		}
	}
}

// TestTuneCollector checks that the percentage is set, follows the size of the live heap, and is
// restored by stop.
func TestTuneCollector(t *testing.T) {
	t.Setenv("GOGC", "")
	old := debug.SetGCPercent(100)
	defer debug.SetGCPercent(old)
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	synctest.Test(t, func(t *testing.T) {
		stop := tuneCollector()
		if got := percent(); got != maxGCPercent {
			t.Errorf("at start: %d", got)
		}
		ballast := make([]byte, 64<<20)
		runtime.GC()
		time.Sleep(collectorInterval + time.Second)
		synctest.Wait()
		if got := percent(); got != minGCPercent {
			t.Errorf("with a large live heap: %d", got)
		}
		runtime.KeepAlive(ballast)
		stop()
		if got := percent(); got != 100 {
			t.Errorf("at the end: %d", got)
		}
	})
	t.Setenv("GOGC", "77")
	tuneCollector()()
	if got := percent(); got != 100 {
		t.Errorf("GOGC in the environment was not respected: %d", got)
	}
}

// TestLimitMemory checks that the runtime gets the limit, unless GOMEMLIMIT is set.
func TestLimitMemory(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	old := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(old)
	limitMemory(300 << 20)
	if got := debug.SetMemoryLimit(-1); got != 300<<20 {
		t.Errorf("limit %d", got)
	}
	limitMemory(0)
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("without a bound: %d", got)
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	debug.SetMemoryLimit(1 << 30)
	limitMemory(300 << 20)
	if got := debug.SetMemoryLimit(-1); got != 1<<30 {
		t.Errorf("with GOMEMLIMIT: %d", got)
	}
}

// TestOpenFiles checks that openFiles returns the limit of the process.
func TestOpenFiles(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || openFiles() != limit.Cur || limit.Cur == 0 {
		t.Errorf("%d, want %d (%v)", openFiles(), limit.Cur, err)
	}
}
