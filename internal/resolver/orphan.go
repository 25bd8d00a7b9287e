package resolver

import "container/list"

// An orphan is a query for which no lookup waits any more. It goes on, because an answer that is
// too late for one message may serve the next. maxOrphans bounds the orphans: beyond it, the oldest
// orphan is given up and its socket is closed. Otherwise a client that asks and does not wait could
// take all sockets.
const maxOrphans = 32

// orphans is the list of all orphans. The query that became an orphan first is at the front.
type orphans struct{ list.List }

// orphaned is an element of orphans.
type orphaned struct {
	key
	*flight
}

// addWaiter notes that one more lookup waits for f, so f is not an orphan. The caller holds mu.
func (c *Cache) addWaiter(f *flight) {
	f.waiters++
	c.unorphan(f)
}

// unorphan removes f from the list of orphans, if it is there. The caller holds mu.
func (c *Cache) unorphan(f *flight) {
	if f.orphan != nil {
		c.orphans.Remove(f.orphan)
		f.orphan = nil
	}
}

// removeWaiter notes that one lookup no longer waits for f. If no lookup waits any more, f becomes
// an orphan, unless f is a prefetch, has ended, or was given up.
func (c *Cache) removeWaiter(k key, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiters--
	if f.waiters > 0 || f.prefetch {
		return
	}
	if c.flights[k] != f { // it has ended, or was abandoned
		f.giveUp()
		return
	}
	f.orphan = c.orphans.PushBack(orphaned{k, f})
	for c.orphans.Len() > maxOrphans {
		oldest := c.orphans.Front().Value.(orphaned)
		c.abandon(oldest.key, oldest.flight)
	}
}

// abandon makes a later lookup of the same question start a new query. It gives up f if no lookup waits
// for it. The caller holds mu.
func (c *Cache) abandon(k key, f *flight) {
	c.forget(k, f)
	if f.waiters == 0 {
		f.giveUp()
	}
}

// forget removes f, which has ended or is given up. The caller holds mu.
func (c *Cache) forget(k key, f *flight) {
	c.unorphan(f)
	if c.flights[k] != f { // it was given up earlier
		return
	}
	delete(c.flights, k)
	if f.prefetch {
		c.prefetches--
	}
}
