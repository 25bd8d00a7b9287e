package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// In this file, the command "serve" decides how much memory the Go runtime may take before it
// collects garbage. Package app must not do that, because a daemon may also run within another
// program.
//
// By default the runtime lets the heap grow by a share of its live memory, that is, of the memory
// in use. A small heap (an empty DNS cache) would then be collected every few milliseconds under
// load, and with a full cache the heap would grow to twice the size of the cache. Instead, the
// daemon sets the memory limit of the runtime to the live memory plus a margin. The size of the
// live memory is known after each collection, and then the limit for the next collection is set.
//
// If the live memory is larger than the limit, the runtime collects again and again. When many
// connections begin at the same time, this happens only once or twice, because after the next
// collection the limit is raised. The part of limits.memory that connections have reserved does
// not count here, because idle connections use only a fifth of it.

const (
	// leastLimit is the limit while the live memory is small, in octets. It is in effect from the
	// start. The process takes about 18 MB more, for the pages of the program itself.
	leastLimit = 40 << 20
	// margin is how much the heap may grow between two collections while the live memory is small,
	// in octets.
	margin = 20 << 20
	// marginShare is how much the heap may grow while the live memory is large, in percent of the
	// live memory. The CPU time of a collection is proportional to the live memory, so a larger
	// heap must be collected less often.
	marginShare = 50
	// reserveShare is the part of the allowed memory that the runtime does not get, in percent. It
	// is for pages of the program and for the kernel's buffers.
	reserveShare = 10
	// fallbackGCPercent is how much the heap may grow at most, in percent of its live memory, even
	// if the limit allows more. That matters if the operator has set a large limit.
	fallbackGCPercent = 400
	// limitStep is the unit of the limit, in octets. A change of the limit stops the process for a
	// moment, so small changes are left out.
	limitStep = 4 << 20
)

// governor sets the memory limit of the Go runtime after each collection of garbage.
type governor struct {
	collected chan struct{}              // receives after a collection
	adapted   func(u usage, limit int64) // called after the limit was set for the live memory; may be nil

	mu    sync.Mutex
	most  int64 // the largest limit that the configuration and the control group allow
	limit int64 // the limit in effect
}

// governMemory sets the memory limit again and again until the caller calls stop, which restores
// the earlier settings. The caller calls allot to say how much memory the configuration allows the
// process, in octets; 0 means no limit. If GOGC is in the environment, its percentage stays in
// effect. If GOMEMLIMIT is in the environment, the operator has set the limit, and governMemory
// does not change it. adapted may be nil.
func governMemory(adapted func(usage, int64)) (allot func(octets int64), stop func()) {
	undo := func() {}
	if os.Getenv("GOGC") == "" {
		percent := debug.SetGCPercent(fallbackGCPercent)
		undo = func() { debug.SetGCPercent(percent) }
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return func(int64) {}, undo
	}
	g := &governor{collected: make(chan struct{}, 1), adapted: adapted, most: math.MaxInt64}
	before, end := debug.SetMemoryLimit(-1), make(chan struct{})
	g.watch()
	g.adapt()
	var running sync.WaitGroup
	running.Go(func() { g.run(end) })
	return g.allot, func() {
		close(end)
		running.Wait()
		debug.SetMemoryLimit(before)
		undo()
	}
}

// watch makes the next collection send to g.collected. That collection frees the sentinel, because
// nothing refers to it.
func (g *governor) watch() {
	sentinel := new([64]byte)
	runtime.AddCleanup(sentinel, func(collected chan<- struct{}) {
		select {
		case collected <- struct{}{}:
		default:
		}
	}, g.collected)
}

func (g *governor) run(end <-chan struct{}) {
	for {
		select {
		case <-g.collected:
			g.watch()
			g.adapt()
		case <-end:
			return
		}
	}
}

// allot is the function that governMemory returns. It also reads the limits of the control groups.
// So after a change of these limits, a reload of the configuration is enough.
func (g *governor) allot(octets int64) {
	if octets == 0 {
		octets = math.MaxInt64
	}
	group := controlGroupMemory(os.DirFS("/"))
	g.mu.Lock()
	g.most = min(octets, group/100*(100-reserveShare))
	g.mu.Unlock()
	g.adapt()
}

// adapt sets the limit for the present size of the live memory.
func (g *governor) adapt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := readUsage()
	if limit := min(limitFor(u), g.most); limit != g.limit {
		g.limit = limit
		debug.SetMemoryLimit(limit)
	}
	if g.adapted != nil {
		g.adapted(u, g.limit)
	}
}

// usage is the memory that the runtime uses, in octets. The sum of both is the live memory.
type usage struct {
	live  int64 // objects on the heap that the last collection found in use
	other int64 // all but the heap's objects and free memory: stacks, the runtime's tables, gaps between objects
}

// limitFor returns the limit with which the heap may grow by the margin.
func limitFor(u usage) int64 {
	lives := u.live + u.other
	limit := lives + max(margin, lives/100*marginShare)
	return max(leastLimit, (limit+limitStep-1)/limitStep*limitStep)
}

// readUsage asks the runtime for its usage.
func readUsage() usage {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
	}
	metrics.Read(samples)
	octets := func(i int) int64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a later version of Go no longer has this metric
		}
		return int64(samples[i].Value.Uint64())
	}
	return usage{live: octets(0), other: octets(1) - octets(2) - octets(3) - octets(4)}
}
