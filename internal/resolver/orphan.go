package resolver

import "container/list"

// maxOrphans bounds the queries under way for which no lookup waits any more. They go
// on, because an answer that is too late for one message may serve the next. Beyond
// the bound, the oldest one is given up and its socket is closed. Otherwise a client
// that asks and does not wait could take all sockets.
const maxOrphans = 32

// orphans are those queries, the one that was left first at the front.
type orphans struct{ list.List }

// orphaned is an element of orphans.
type orphaned struct {
	key
	*flight
}

// addWaiter counts one more lookup that waits for f. The caller holds mu.
func (c *Cache) addWaiter(f *flight) {
	f.waiters++
	c.unorphan(f)
}

// unorphan takes f out of the orphans. The caller holds mu.
func (c *Cache) unorphan(f *flight) {
	if f.orphan != nil {
		c.orphans.Remove(f.orphan)
		f.orphan = nil
	}
}

// removeWaiter counts one lookup less that waits for f. Without any, f is an orphan.
func (c *Cache) removeWaiter(k key, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiters--
	if f.waiters > 0 || f.prefetch || c.flights[k] != f {
		return
	}
	f.orphan = c.orphans.PushBack(orphaned{k, f})
	for c.orphans.Len() > maxOrphans {
		oldest := c.orphans.Front().Value.(orphaned)
		c.forget(oldest.key, oldest.flight) // a lookup from here on starts a new query
		oldest.giveUp()
	}
}

// forget removes f, which is over or given up. The caller holds mu.
func (c *Cache) forget(k key, f *flight) {
	c.unorphan(f)
	if c.flights[k] != f { // it was given up before
		return
	}
	delete(c.flights, k)
	if f.prefetch {
		c.prefetches--
	}
}
