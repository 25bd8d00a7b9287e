package main

import (
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
)

// This file has the settings of the process that "serve" changes or reads. They
// belong to the command: the daemon may also run within another program.

// limitMemory makes the garbage collector work harder before the process outgrows
// what the configuration allots to it, in octets; 0 means no bound. If GOMEMLIMIT is
// in the environment, the operator has set the limit and it stays.
func limitMemory(allotted int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if allotted == 0 {
		allotted = math.MaxInt64
	}
	debug.SetMemoryLimit(allotted)
}

// openFiles returns how many files the process may have open, 0 if the system does
// not say.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return limit.Cur
}

const (
	// garbage is how much the heap may grow between two collections, in octets. The
	// runtime's own rule is a share of the live heap. That would mean a collection
	// every few milliseconds under load while the DNS cache is small, and twice the
	// memory of the cache when it is full.
	garbage = 24 << 20
	// The percentage stays between these two. With a lower one a full cache would be
	// scanned too often; with a higher one a small heap would gain nothing.
	minGCPercent, maxGCPercent = 40, 400
	// collectorInterval is how often the percentage is adapted to the live heap. The
	// cache takes minutes to fill.
	collectorInterval = 10 * time.Second
)

// tuneCollector sets the garbage collector's percentage so that the heap grows by
// about garbage octets between two collections. It goes on until stop is called,
// which puts the former percentage back. If GOGC is in the environment, the operator
// has chosen, and tuneCollector changes nothing.
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

// gcPercent returns the percentage of live octets that is nearest to garbage. It
// changes in steps, because each change stops the process for a moment.
func gcPercent(live uint64) int {
	if live < garbage*100/maxGCPercent {
		return maxGCPercent
	}
	const step = 20
	return max(int(garbage*100/live)/step*step, minGCPercent)
}

// liveHeap returns how many octets the last collection left.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
