// Package resolver asks DNS servers and caches their answers. A [Cache] keeps
// answers and failures; the [upstream.Client] behind it asks recursive servers; and
// [Metrics] count both. A [Resolver] is a Cache with its Client. All three are a
// [dns.Resolver]. The package also exports the names of package upstream that the
// rest of the daemon needs.
package resolver

import (
	"context"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/dns"
	"sekimori/internal/resolver/upstream"
)

// ClientConfig configures which servers are asked, and how.
type ClientConfig = upstream.ClientConfig

// Sockets is the highest number of sockets that queries under way may have.
const Sockets = upstream.MaxInflight

// ResolvConf is the file that names the system's servers.
const ResolvConf = upstream.ResolvConf

// ServersFromResolvConf returns the name servers of a resolv.conf(5) file. If the file
// names none, it returns the local machine, as that manual says.
func ServersFromResolvConf(path string) ([]netip.AddrPort, error) {
	return upstream.ServersFromResolvConf(path)
}

// ResolvConfEmpty reports whether a resolv.conf(5) file can be read and names no
// server.
func ResolvConfEmpty(path string) bool { return upstream.ResolvConfEmpty(path) }

// Config configures a Resolver. New fills in the Metrics.
type Config struct {
	Client ClientConfig
	Cache  CacheConfig
}

// Resolver is a Cache with a client behind it. Close ends it.
type Resolver struct {
	client *upstream.Client
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

// NewWithMetrics is New with series that are registered already. A reload needs it for
// the Resolver that replaces another. m may be nil.
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

// Servers returns the addresses of the servers asked.
func (r *Resolver) Servers() []string { return r.client.Servers() }

// Purge empties the cache.
func (r *Resolver) Purge() { r.cache.Purge() }

// Close ends the queries under way and waits for them.
func (r *Resolver) Close() {
	r.cache.Close()
	r.client.Close()
}
