// Package resolver asks DNS servers and remembers what they said: a [Client]
// speaks to recursive servers, a [Cache] in front of it keeps answers, "no"s
// and failures, and [Metrics] count both. Each is a [dns.Resolver].
//
// The client trusts no packet: a new socket, a random ID and, to other hosts,
// random letter case for every query, and what is not the answer to its
// question is ignored (RFC 5452). What DNSSEC can add is left to the recursive
// server, whose AD bit is passed on where nobody can have changed it.
package resolver

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
)

// Config configures a Resolver. The Metrics in it are filled in by New.
type Config struct {
	Client ClientConfig
	Cache  CacheConfig
}

// DefaultConfig asks the system's servers through a cache of 64 MiB.
func DefaultConfig() Config { return Config{Cache: DefaultCacheConfig()} }

// Resolver is a Client behind a Cache. Close ends it.
type Resolver struct {
	client *Client
	cache  *Cache
}

// New returns a Resolver whose series are registered with reg.
func New(cfg Config, reg prometheus.Registerer) (*Resolver, error) {
	m, err := NewMetrics(reg)
	if err != nil {
		return nil, err
	}
	return NewWithMetrics(cfg, m)
}

// NewWithMetrics is New with series that are registered already, for the
// Resolver that a reload puts in the place of another. m may be nil.
func NewWithMetrics(cfg Config, m *Metrics) (*Resolver, error) {
	cfg.Client.Metrics, cfg.Cache.Metrics = m, m
	cfg.Client.OnPanic = cfg.Cache.OnPanic
	client, err := NewClient(cfg.Client)
	if err != nil {
		return nil, err
	}
	cache, err := NewCache(client, cfg.Cache)
	if err != nil {
		client.Close()
		return nil, err
	}
	return &Resolver{client: client, cache: cache}, nil
}

// Lookup implements [dns.Resolver].
func (r *Resolver) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return r.cache.Lookup(ctx, name, typ)
}

// Peek implements [dns.Peeker].
func (r *Resolver) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	return r.cache.Peek(name, typ)
}

// Servers returns the addresses of the servers asked.
func (r *Resolver) Servers() []string { return r.client.Servers() }

// Purge empties the cache.
func (r *Resolver) Purge() { r.cache.Purge() }

// Close ends the queries under way and waits for them.
func (r *Resolver) Close() {
	r.cache.Close()
	r.client.Close()
}
