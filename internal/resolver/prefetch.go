package resolver

import (
	"sync/atomic"
	"time"
)

const (
	// hotReads is how often an answer must have been read for it to be asked
	// again before its TTL ends.
	hotReads = 3
	// prefetchPart is the last part of a TTL in which that happens: a tenth.
	prefetchPart = 10
	// maxPrefetches bounds the prefetches under way: lookups that somebody waits
	// for must not find every socket taken.
	maxPrefetches = 32
)

// demand is what readers leave on an entry. Counting stops early, so that
// readers of a hot entry do not write.
type demand struct {
	reads      atomic.Uint32 // up to hotReads
	prefetched atomic.Bool
}

// read counts a reader and reports whether the entry is hot.
func (d *demand) read() bool {
	return d.reads.Load() >= hotReads || d.reads.Add(1) >= hotReads
}

// prefetchFrom returns when to begin asking again for what lives from now
// until expires.
func prefetchFrom(now, expires time.Duration) time.Duration {
	return expires - (expires-now)/prefetchPart
}

// prefetch asks again for an entry that is hot and about to expire, once, in
// the background.
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
