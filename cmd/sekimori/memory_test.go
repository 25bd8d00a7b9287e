package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/fstest"
	"time"
)

func TestLimitFor(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		why  string
		u    usage
		want int64
	}{
		{"at the start", usage{}, 40 * mib},
		{"a warm cache", usage{live: 7 * mib, other: 6 * mib}, 40 * mib},
		{"the margin while little lives", usage{live: 20 * mib, other: 10 * mib}, 52 * mib},
		{"half of what lives", usage{live: 60 * mib, other: 20 * mib}, 120 * mib},
		{"stacks count like the heap", usage{live: 20 * mib, other: 60 * mib}, 120 * mib},
		{"rounded up", usage{live: 60 * mib, other: 20*mib + 200}, 124 * mib},
	} {
		if got := limitFor(tt.u); got/mib != tt.want/mib {
			t.Errorf("%s: %d MiB, want %d MiB", tt.why, got/mib, tt.want/mib)
		}
	}
}

// limits returns a function that collects garbage until the governor has set a limit for which ok
// returns true.
func limits(t *testing.T) (adapted func(usage, int64), until func(why string, ok func(usage, int64) bool)) {
	t.Helper()
	type set struct {
		u     usage
		limit int64
	}
	sets := make(chan set, 1000)
	adapted = func(u usage, limit int64) {
		select {
		case sets <- set{u, limit}:
		default:
		}
	}
	return adapted, func(why string, ok func(usage, int64) bool) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		var last set
		for time.Now().Before(deadline) {
			runtime.GC()
			select {
			case last = <-sets:
				if ok(last.u, last.limit) {
					return
				}
			default:
				runtime.Gosched()
			}
		}
		t.Fatalf("%s: the last limit was %+v", why, last)
	}
}

// TestGovernMemory checks that the limit follows the size of the live memory, up and down, that it
// never exceeds what the configuration allows, and that stop restores the settings.
func TestGovernMemory(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	percent, limit := debug.SetGCPercent(90), debug.SetMemoryLimit(1<<40)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }()
	runtime.GC() // another test may have left a large heap
	adapted, until := limits(t)
	allot, stop := governMemory(adapted)
	if got := debug.SetMemoryLimit(-1); got > 200<<20 {
		t.Errorf("the limit at the start is %d", got)
	}
	ballast := make([]byte, 100<<20)
	until("large", func(u usage, limit int64) bool { return u.live > 100<<20 && limit >= u.live+u.other+50<<20 })
	runtime.KeepAlive(ballast) // from here on nothing refers to it
	until("small again", func(u usage, limit int64) bool { return u.live < 50<<20 && limit < 110<<20 })
	if got := debug.SetMemoryLimit(-1); got >= 110<<20 {
		t.Errorf("limit %d", got)
	}
	allot(16 << 20)
	if got := debug.SetMemoryLimit(-1); got != 16<<20 {
		t.Errorf("limit %d with 16 MiB allotted", got)
	}
	allot(0)
	if got := debug.SetMemoryLimit(-1); got <= 16<<20 {
		t.Errorf("limit %d without a limit", got)
	}
	stop()
	if got := debug.SetMemoryLimit(-1); got != 1<<40 {
		t.Errorf("limit %d at the end", got)
	}
	if got := debug.SetGCPercent(90); got != 90 {
		t.Errorf("%d %% at the end", got)
	}
}

// TestOperatorGoverns checks that GOMEMLIMIT and GOGC in the environment are respected.
func TestOperatorGoverns(t *testing.T) {
	percent, limit := debug.SetGCPercent(90), debug.SetMemoryLimit(1<<40)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }()
	t.Setenv("GOMEMLIMIT", "1TiB")
	t.Setenv("GOGC", "90")
	allot, stop := governMemory(nil)
	allot(50 << 20)
	if p, l := debug.SetGCPercent(90), debug.SetMemoryLimit(-1); p != 90 || l != 1<<40 {
		t.Errorf("%d %%, limit %d", p, l)
	}
	stop()
}

// TestLargeHeapIsCollectedSeldom checks that a heap that has grown far over the first limit is not
// collected again and again.
func TestLargeHeapIsCollectedSeldom(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	adapted, until := limits(t)
	_, stop := governMemory(adapted)
	defer stop()
	kept := make([][]byte, 200)
	for i := range kept {
		kept[i] = make([]byte, 1<<20)
	}
	until("large", func(u usage, _ int64) bool { return u.live > 200<<20 })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 90 * 16 {
		sink = make([]byte, 64<<10)
	}
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	if n := after.NumGC - before.NumGC; n > 3 {
		t.Errorf("%d collections while the heap grew by less than the margin", n)
	}
}

// sink makes the compiler allocate on the heap what is assigned to sink.
var sink []byte

func TestControlGroupMemory(t *testing.T) {
	const none = math.MaxInt64
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, tt := range []struct {
		why  string
		fs   fstest.MapFS
		want int64
	}{
		{"no /proc", fstest.MapFS{}, none},
		{"no limit", fstest.MapFS{
			"proc/self/cgroup": file("0::/system.slice/s.service\n"),
			"sys/fs/cgroup/system.slice/s.service/memory.max": file("max\n"),
		}, none},
		{"MemoryMax", fstest.MapFS{
			"proc/self/cgroup": file("0::/system.slice/s.service\n"),
			"sys/fs/cgroup/system.slice/s.service/memory.max": file("100000000\n"),
		}, 100_000_000},
		{"MemoryHigh", fstest.MapFS{
			"proc/self/cgroup":            file("0::/s\n"),
			"sys/fs/cgroup/s/memory.max":  file("100000000\n"),
			"sys/fs/cgroup/s/memory.high": file("90000000\n"),
		}, 90_000_000},
		{"a group above", fstest.MapFS{
			"proc/self/cgroup":               file("0::/a/b/c\n"),
			"sys/fs/cgroup/a/b/c/memory.max": file("100000000\n"),
			"sys/fs/cgroup/a/memory.max":     file("70000000\n"),
		}, 70_000_000},
		{"a container", fstest.MapFS{
			"proc/self/cgroup": file("0::/../../kubepods/pod1\n"), "sys/fs/cgroup/memory.max": file("60000000\n"),
		}, 60_000_000},
		{"version 1", fstest.MapFS{
			"proc/self/cgroup": file("5:devices:/\n4:memory:/x\n0::/\n"),
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("50000000\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 50_000_000},
		{"nonsense", fstest.MapFS{"proc/self/cgroup": file("\n0\n0::\nx:memory\n"), "sys/fs/cgroup/memory.max": file("-1")}, none},
	} {
		if got := controlGroupMemory(tt.fs); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.why, got, tt.want)
		}
	}
	if got := controlGroupMemory(os.DirFS("/")); got <= 0 {
		t.Errorf("here: %d", got)
	}
}
