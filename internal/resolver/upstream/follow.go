package upstream

import (
	"context"
	"errors"
	"slices"
	"time"
)

// rereadEvery is how often resolv.conf is read. Other programs change it: DHCP, a VPN,
// or the runtime of a container.
const rereadEvery = 5 * time.Second

var errNamesNone = errors.New("resolver: the file names no server")

// follow replaces the servers when resolv.conf changes, until ctx ends. A file that cannot be read
// or has no server changes nothing, because another program may just be writing it.
func (c *Client) follow(ctx context.Context, cfg ClientConfig, now []endpoint) {
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	wrong := "" // the problem with the file that OnServers was last called for
	if ResolvConfEmpty(cfg.ResolvConf) {
		wrong = errNamesNone.Error()
	}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		next, err := namedServers(cfg.ResolvConf)
		if err == nil && len(next) == 0 {
			err = errNamesNone
		}
		switch {
		case err != nil:
			if err.Error() == wrong {
				continue
			}
			wrong = err.Error()
		case slices.Equal(next, now):
			wrong = ""
			continue
		default:
			now, wrong = next, ""
			c.use(now, cfg)
		}
		if cfg.OnServers != nil {
			cfg.OnServers(c.Servers(), err)
		}
	}
}

// use replaces the servers by those at endpoints. A server that stays in the list keeps its health.
func (c *Client) use(endpoints []endpoint, cfg ClientConfig) {
	var old []*server
	if p := c.servers.Load(); p != nil {
		old = *p
	}
	list := make([]*server, len(endpoints))
	for i, e := range endpoints {
		at := slices.IndexFunc(old, func(s *server) bool { return s.from == e && !slices.Contains(list, s) })
		if at >= 0 {
			list[i] = old[at]
		} else {
			list[i] = newServer(e, cfg)
		}
	}
	c.servers.Store(&list)
}
