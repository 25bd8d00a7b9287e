package resolver

import (
	"sync/atomic"
	"time"
)

const (
	// hotReads is how often an answer must have been read to be hot. A hot answer is renewed before
	// its TTL ends.
	hotReads = 3
	// prefetchPart: a hot answer is renewed when it is read in the last 1/prefetchPart of its TTL.
	prefetchPart = 10
	// maxPrefetches bounds the prefetches that run at the same time. Otherwise they could take all
	// sockets from lookups that messages wait for.
	maxPrefetches = 32
)

// demand counts the reads of an entry. Counting stops at hotReads, so that goroutines that read a
// hot entry do not all write to shared memory.
type demand struct {
	reads      atomic.Uint32 // up to hotReads
	prefetched atomic.Bool
}

// read counts one read and reports whether the entry is hot.
func (d *demand) read() bool {
	return d.reads.Load() >= hotReads || d.reads.Add(1) >= hotReads
}

// prefetchFrom returns the time from which an entry may be renewed. The TTL of the entry begins at
// "now" and ends at "expires".
func prefetchFrom(now, expires time.Duration) time.Duration {
	return expires - (expires-now)/prefetchPart
}

// prefetch renews a hot entry whose TTL will end soon. It does so in the background and only once
// for each entry.
func (c *Cache) prefetch(k key, e *entry) {
	if e.prefetched.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.prefetches >= maxPrefetches || c.flights[k] != nil {
		return
	}
	e.prefetched.Store(true)
	c.prefetches++
	c.cfg.Metrics.prefetched(e.kind())
	c.launch(k, &flight{done: make(chan struct{}), known: e, prefetch: true})
}
