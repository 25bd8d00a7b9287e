package app

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/explain"
)

// try judges a message that was pasted into the console, with the policy in effect and the DNS servers and
// the cache of the daemon. The message is neither counted nor kept.
func (a *App) try(ctx context.Context, m *explain.Stored) (*explain.Explanation, error) {
	a.mu.Lock()
	g := a.current
	a.mu.Unlock()
	trace := dns.NewTrace(g.resolver)
	verifier, err := NewVerifier(g.cfg, trace, time.Duration(g.cfg.DNS.MessageBudget), nil)
	if err != nil {
		return nil, err
	}
	j := *g.options.Judge
	j.Verifier = verifier
	j.Label.AuthServID = g.cfg.ServID() // no MTA sends its name
	j.Split = false                     // there is no RCPT at which recipients could be refused
	j.Whole, j.Marks, j.Failures = false, nil, nil
	return m.Judge(ctx, &j, trace)
}

// tryOff says why messages cannot be tried in the console, or "" if they can.
func (a *App) tryOff() string { return TryOff(a.generation().cfg.Admin) }

// TryOff says why messages cannot be tried in the console with this configuration, or "" if they can. A
// page that makes the daemon ask DNS must not be open to everybody in the network.
func TryOff(c config.Admin) string {
	switch {
	case !c.Try:
		return "It is switched off (admin.try)."
	case c.WebConfig == "" && !loopback(c.Listen):
		return fmt.Sprintf("admin.listen is %s, which others can reach. Listen on a loopback address, or set admin.web_config.", c.Listen)
	}
	return ""
}

// loopback reports whether an address to listen on is one of the loopback interface.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
