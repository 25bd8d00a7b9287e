package app

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// garbage is how much the heap may grow between two collections. A
	// share of what lives, which is the runtime's own rule, means a collection
	// every few milliseconds of load while the DNS cache is small, and twice
	// the cache's memory when it is full.
	garbage = 24 << 20
	// The rule's percentage stays between these: below, a full cache would be
	// gone through too often; above, a small heap would gain nothing.
	minGCPercent, maxGCPercent = 40, 400
	// collectorInterval is how often the percentage follows what lives; the
	// cache fills over minutes.
	collectorInterval = 10 * time.Second
)

// collect keeps the garbage collector's percentage at garbage octets of what
// lives until the returned function is called. GOGC in the environment is the
// operator's word, and then nothing is touched.
func collect() (stop func()) {
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

// gcPercent is the percentage of live octets that comes next to garbage, in
// steps, because each change stops the process for a moment.
func gcPercent(live uint64) int {
	if live < garbage*100/maxGCPercent {
		return maxGCPercent
	}
	const step = 20
	return max(int(garbage*100/live)/step*step, minGCPercent)
}

// liveHeap is what the last collection left, in octets.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
