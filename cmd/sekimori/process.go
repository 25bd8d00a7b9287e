package main

import (
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
)

// In this file, the command "serve" reads and changes settings of the process. Package app must not
// do that, because a daemon may also run within another program.

// limitMemory sets the memory limit of the Go runtime to what the configuration allows, in
// octets; 0 means no limit. Near the limit the garbage collector runs more often. If GOMEMLIMIT
// is in the environment, the operator has set the limit, and limitMemory changes nothing.
func limitMemory(allotted int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if allotted == 0 {
		allotted = math.MaxInt64
	}
	debug.SetMemoryLimit(allotted)
}

// openFiles returns how many files the process may have open, or 0 if the system does not tell.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}

const (
	// garbage is how much the heap should grow between two collections, in octets. By default the
	// Go runtime lets the heap grow by a share of its live octets. Then a small heap (an empty DNS
	// cache) would be collected every few milliseconds under load, and with a full cache the heap
	// would grow to about twice the size of the cache.
	garbage = 24 << 20
	// The percentage of the garbage collector is kept between these two values. With a lower
	// percentage, a full cache would be scanned too often. With a higher one, a small heap would
	// gain nothing more.
	minGCPercent, maxGCPercent = 40, 400
	// collectorInterval is how often the percentage is adapted to the live heap. That is often
	// enough, because the cache takes minutes to fill.
	collectorInterval = 10 * time.Second
)

// tuneCollector sets the garbage collector's percentage again and again, so that the heap grows by
// about "garbage" octets between two collections. The returned function "stop" ends that and
// restores the former percentage. If GOGC is in the environment, the operator has chosen the
// percentage, and tuneCollector changes nothing.
func tuneCollector() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	before := debug.SetGCPercent(gcPercent(0))
	go func() {
		defer close(ended)
		tick := time.NewTicker(collectorInterval)
		defer tick.Stop()
		for last := maxGCPercent; ; {
			select {
			case <-tick.C:
			case <-end:
				return
			}
			if p := gcPercent(liveHeap()); p != last {
				debug.SetGCPercent(p)
				last = p
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		debug.SetGCPercent(before)
	}
}

// gcPercent returns the percentage with which a heap of "live" octets grows by about "garbage"
// octets, but at least minGCPercent and at most maxGCPercent. The percentage is rounded down to
// steps of 20, because each change stops the process for a moment.
func gcPercent(live uint64) int {
	if live < garbage*100/maxGCPercent {
		return maxGCPercent
	}
	const step = 20
	return max(int(garbage*100/live)/step*step, minGCPercent)
}

// liveHeap returns how many octets were in use after the last collection.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
