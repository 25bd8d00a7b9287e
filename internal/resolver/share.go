package resolver

import (
	"context"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/upstream"
)

// With returns a Resolver that asks as cfg says and shares what r's cache
// keeps: a reload must not begin with an empty one. Each is closed for itself.
func (r *Resolver) With(cfg ClientConfig) (*Resolver, error) {
	cfg.Metrics, cfg.OnPanic = r.cache.cfg.Metrics.ofServers(), r.cache.cfg.OnPanic
	client, err := upstream.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Resolver{client: client, cache: r.cache.with(client)}, nil
}

// with returns a Cache over c's store with queries of its own to next.
func (c *Cache) with(next dns.Resolver) *Cache {
	n := &Cache{next: next, cfg: c.cfg, store: c.store, large: c.large, start: c.start, clock: c.clock, flights: map[key]*flight{}}
	n.base, n.stop = context.WithCancel(context.Background())
	return n
}

// Show makes the metrics show the size of r's cache and r's servers. They show
// those of the one made last, which may not have come into use.
func (r *Resolver) Show() {
	r.cache.cfg.Metrics.watch(r.cache)
	r.client.Show()
}
