package app

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// NewResolver makes the configured resolver. It registers the resolver's metrics with reg. If a
// goroutine of the resolver panics, it calls onPanic with the value of the panic. reg and
// onPanic may be nil.
func NewResolver(cfg *config.Config, reg prometheus.Registerer, onPanic func(any)) (*resolver.Resolver, error) {
	o := resolverConfig(cfg, onPanic)
	if reg == nil {
		return resolver.NewWithMetrics(o, nil)
	}
	return resolver.New(o, reg)
}

func resolverConfig(cfg *config.Config, onPanic func(any)) resolver.Config {
	servers := make([]string, len(cfg.DNS.Servers))
	for i, s := range cfg.DNS.Servers {
		servers[i] = s.String()
	}
	c := cfg.DNS.Cache
	return resolver.Config{
		Client: resolver.ClientConfig{
			Servers: servers, Timeout: time.Duration(cfg.DNS.Timeout), Hedge: time.Duration(cfg.DNS.Hedge), TrustAD: cfg.DNS.TrustAD,
		},
		Cache: resolver.CacheConfig{
			Size: int64(c.Size), MaxTTL: time.Duration(c.MaxTTL), MinTTL: time.Duration(c.MinTTL),
			NegativeTTL: time.Duration(c.NegativeTTL), FailureTTL: time.Duration(c.FailureTTL), Stale: time.Duration(c.Stale),
			OnPanic: onPanic,
		},
	}
}

// serversChanged is called after a change of resolv.conf. It logs the servers that the resolver
// now asks, or why it still asks the old ones.
func (a *App) serversChanged(servers []string, err error) {
	if err != nil {
		a.log.Warn("DNS servers stay as they are", "file", resolver.ResolvConf, "error", err, "servers", servers)
		return
	}
	a.log.Info("DNS servers changed", "file", resolver.ResolvConf, "servers", servers)
}

// checkDNS returns an error if the daemon would not start with the host's resolv.conf, or if
// dns.hedge is on and there is no second server.
func checkDNS(d config.DNS, resolvConf string) error {
	if len(d.Servers) > 0 {
		return nil // for these servers, reading the configuration has checked dns.hedge
	}
	servers, err := resolver.ServersFromResolvConf(resolvConf)
	if err != nil {
		return noServers(err)
	}
	if d.Hedge > 0 && len(servers) < 2 {
		return fmt.Errorf("app: dns.hedge needs two servers; %s names %s only, name others in dns.servers or turn it off", resolvConf, servers[0])
	}
	return nil
}

// noServers says of an error of resolv.conf why the file is read, and what to do.
func noServers(err error) error {
	return fmt.Errorf("app: dns.servers is not given: %w; name your resolvers there", err)
}

// PurgeDNS makes the daemon forget all DNS answers. A message that begins afterwards gets no answer to a
// query that was sent before.
func (a *App) PurgeDNS() { a.generation().resolver.Purge() }
