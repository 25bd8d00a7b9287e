package resolver

import (
	"sync/atomic"
	"time"
)

const (
	// hotReads is how often an answer must have been read so that it is renewed
	// before its TTL ends.
	hotReads = 3
	// prefetchPart says that this happens in the last tenth of the TTL.
	prefetchPart = 10
	// maxPrefetches bounds the prefetches under way, so that they cannot take every
	// socket from lookups that messages wait for.
	maxPrefetches = 32
)

// demand counts the readers of an entry. Counting stops at hotReads, so that readers of
// a hot entry do not write to shared memory.
type demand struct {
	reads      atomic.Uint32 // up to hotReads
	prefetched atomic.Bool
}

// read counts a reader and reports whether the entry is hot.
func (d *demand) read() bool {
	return d.reads.Load() >= hotReads || d.reads.Add(1) >= hotReads
}

// prefetchFrom returns the time from which an entry that lives from now until expires
// may be renewed.
func prefetchFrom(now, expires time.Duration) time.Duration {
	return expires - (expires-now)/prefetchPart
}

// prefetch renews an entry that is hot and about to expire, in the background and only
// once.
func (c *Cache) prefetch(k key, e *entry) {
	if e.prefetched.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.prefetches >= maxPrefetches || c.flights[k] != nil || e.prefetched.Swap(true) {
		return
	}
	c.prefetches++
	c.cfg.Metrics.prefetched(e.kind())
	c.launch(k, &flight{done: make(chan struct{}), stale: e, prefetch: true})
}
