package daemon

import (
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// Pair is two daemons with the same name server. Monitor labels every message and delivers it.
// Enforce acts on its verdicts.
type Pair struct {
	DNS              *nameserver.Server
	Monitor, Enforce *Daemon
}

// StartPair starts two daemons that use z and have no DNS cache. They run until the test ends.
// Their configurations are made by Config, with the given authServID and the mode of each daemon.
// If change is not nil, it is called with each of the two configurations and may edit it.
func StartPair(tb testing.TB, z *zone.Zone, authServID string, change func(*config.Config)) *Pair {
	tb.Helper()
	p := &Pair{DNS: nameserver.ServeZone(tb, z, nameserver.Options{})}
	run := func(mode policy.Mode) *Daemon {
		cfg := Config(p.DNS.Addr())
		cfg.AuthservID, cfg.Mode = authServID, mode
		if change != nil {
			change(cfg)
		}
		return Start(tb, cfg)
	}
	p.Monitor, p.Enforce = run(policy.Monitor), run(policy.Enforce)
	return p
}

// SetZone replaces the zone of the name server. Messages that are sent afterwards get no answer from the
// zone before.
func (p *Pair) SetZone(z *zone.Zone) {
	set := func() { p.DNS.SetZone(z) }
	p.Monitor.changeDNS(func() { p.Enforce.changeDNS(set) })
}
