package resolver

import "container/list"

// maxOrphans bounds the queries under way for which nobody waits any more: what
// came too late for one message is there for the next. The one that was left
// first is given up for one more, down to its socket, so that who asks and does
// not wait takes none from those who do.
const maxOrphans = 32

// orphans are such queries in the order they were left.
type orphans struct{ list.List }

// orphaned is one of them.
type orphaned struct {
	key
	*flight
}

// adopt is somebody who waits for f from now on. The caller holds mu.
func (c *Cache) adopt(f *flight) {
	f.waiters++
	c.claim(f)
}

// claim takes f out of the orphans. The caller holds mu.
func (c *Cache) claim(f *flight) {
	if f.orphan != nil {
		c.orphans.Remove(f.orphan)
		f.orphan = nil
	}
}

// leave is somebody who waits for f no more.
func (c *Cache) leave(k key, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiters--
	if f.waiters > 0 || f.prefetch || c.flights[k] != f {
		return
	}
	f.orphan = c.orphans.PushBack(orphaned{k, f})
	for c.orphans.Len() > maxOrphans {
		oldest := c.orphans.Front().Value.(orphaned)
		c.land(oldest.key, oldest.flight) // who asks now asks anew
		oldest.giveUp()
	}
}

// land ends what c knows of f, which is over or given up. The caller holds mu.
func (c *Cache) land(k key, f *flight) {
	c.claim(f)
	if c.flights[k] != f { // given up before
		return
	}
	delete(c.flights, k)
	if f.prefetch {
		c.prefetches--
	}
}
