package resolver

import (
	"context"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/upstream"
)

// With returns a Resolver with the client configuration cfg that shares the entries of r's cache. A
// reload uses it, so that it does not begin with an empty cache. Both Resolvers must be closed.
func (r *Resolver) With(cfg ClientConfig) (*Resolver, error) {
	cfg.Metrics, cfg.OnPanic = r.cache.cfg.Metrics.ofServers(), r.cache.cfg.OnPanic
	client, err := upstream.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Resolver{client: client, cache: r.cache.with(client)}, nil
}

// with returns a Cache that shares the stores of c and sends its queries to next.
func (c *Cache) with(next dns.Resolver) *Cache {
	n := &Cache{next: next, cfg: c.cfg, store: c.store, large: c.large, start: c.start, clock: c.clock, epoch: c.epoch, flights: map[key]*flight{}}
	n.base, n.stop = context.WithCancel(context.Background())
	return n
}

// Show makes the metrics show r's servers and the size of r's cache. Before this call, the metrics
// may show the servers and the cache of a Resolver that was made later and is not in use.
func (r *Resolver) Show() {
	r.cache.cfg.Metrics.watch(r.cache)
	r.client.Show()
}
