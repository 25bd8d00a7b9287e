package resolver

import "sync"

// epoch counts how often the stores were purged. Caches that share the stores share it.
type epoch struct {
	mu     sync.Mutex // held while an entry is stored, and while all are removed
	purges int
}

func (e *epoch) now() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.purges
}

// Purge empties the cache. A lookup that begins afterwards gets no answer to a query that began
// before, also not if that query is still under way. Purge ends the queries for which no lookup waits.
func (c *Cache) Purge() {
	c.epoch.mu.Lock()
	c.epoch.purges++
	if c.store != nil {
		c.store.InvalidateAll()
		c.large.InvalidateAll()
	}
	c.epoch.mu.Unlock()
	for _, f := range c.abandonAll() {
		<-f.done
	}
}

// abandonAll abandons the queries that began before the last Purge. It returns those for which no lookup
// waits; they end soon.
func (c *Cache) abandonAll() (ending []*flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, f := range c.flights {
		if f.epoch == c.epoch.now() {
			continue
		}
		if f.waiters == 0 {
			ending = append(ending, f)
		}
		c.abandon(k, f)
	}
	return ending
}
