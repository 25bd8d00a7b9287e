package app

import (
	"runtime"
	"runtime/debug"
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

// TestCollect: the percentage is set, follows what lives, and is put back.
func TestCollect(t *testing.T) {
	t.Setenv("GOGC", "")
	old := debug.SetGCPercent(100)
	defer debug.SetGCPercent(old)
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	synctest.Test(t, func(t *testing.T) {
		stop := collect()
		if got := percent(); got != maxGCPercent {
			t.Errorf("at start: %d", got)
		}
		ballast := make([]byte, 64<<20)
		runtime.GC()
		time.Sleep(collectorInterval + time.Second)
		synctest.Wait()
		if got := percent(); got != minGCPercent {
			t.Errorf("with much that lives: %d", got)
		}
		runtime.KeepAlive(ballast)
		stop()
		if got := percent(); got != 100 {
			t.Errorf("at the end: %d", got)
		}
	})
	t.Setenv("GOGC", "77")
	collect()()
	if got := percent(); got != 100 {
		t.Errorf("GOGC in the environment was not respected: %d", got)
	}
}
