// Package resolver asks DNS servers and caches their answers. A [Cache] stores answers and
// failures. The [upstream.Client] behind it asks recursive servers. [Metrics] counts the work of
// the cache and of the client. A [Resolver] is a Cache with its Client. Cache, Client and Resolver
// all implement [dns.Resolver]. The package also exports the names of package upstream that other
// packages need.
package resolver

import (
	"context"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/upstream"
)

// ClientConfig says which servers are asked, and how.
type ClientConfig = upstream.ClientConfig

// Sockets is the highest number of sockets that queries may have open at the same time.
const Sockets = upstream.MaxInflight

// ResolvConf is the file that names the system's servers.
const ResolvConf = upstream.ResolvConf

// ServersFromResolvConf returns the name servers of a resolv.conf(5) file. If the file has none, it
// returns the address of the local machine, as resolv.conf(5) says.
func ServersFromResolvConf(path string) ([]netip.AddrPort, error) {
	return upstream.ServersFromResolvConf(path)
}

// ResolvConfEmpty reports whether a resolv.conf(5) file can be read and names no
// server.
func ResolvConfEmpty(path string) bool { return upstream.ResolvConfEmpty(path) }

// Config configures a Resolver. New sets Client.Metrics and Cache.Metrics, and uses Cache.OnPanic
// for the client too.
type Config struct {
	Client ClientConfig
	Cache  CacheConfig
}

// Resolver is a Cache with an upstream.Client behind it. Close ends it.
type Resolver struct {
	client *upstream.Client
	cache  *Cache
}

// New returns a Resolver and registers its series with reg.
func New(cfg Config, reg prometheus.Registerer) (*Resolver, error) {
	m, err := NewMetrics(reg)
	if err != nil {
		return nil, err
	}
	return NewWithMetrics(cfg, m)
}

// NewWithMetrics is like New, with Metrics that are already registered. A reload needs this,
// because series can be registered only once. m may be nil.
func NewWithMetrics(cfg Config, m *Metrics) (*Resolver, error) {
	cfg.Client.Metrics, cfg.Cache.Metrics = m.ofServers(), m
	cfg.Client.OnPanic = cfg.Cache.OnPanic
	client, err := upstream.NewClient(cfg.Client)
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

// Peek implements [dns.Resolver].
func (r *Resolver) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	return r.cache.Peek(name, typ)
}

// Expect implements [dns.Resolver].
func (r *Resolver) Expect(ctx context.Context, name dns.Name, typ dns.Type) bool {
	return r.cache.Expect(ctx, name, typ)
}

// Queued implements [dns.Resolver].
func (r *Resolver) Queued() bool { return r.cache.Queued() }

// Servers returns the addresses of the servers that are asked.
func (r *Resolver) Servers() []string { return r.client.Servers() }

// Purge empties the cache.
func (r *Resolver) Purge() { r.cache.Purge() }

// Close ends the running queries and waits for them.
func (r *Resolver) Close() {
	r.cache.Close()
	r.client.Close()
}
