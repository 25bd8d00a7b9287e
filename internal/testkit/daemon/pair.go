package daemon

import (
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

// Pair is two daemons that ask one name server: Monitor puts a label on every
// message, Enforce does what it decides.
type Pair struct {
	DNS              *nameserver.Server
	Monitor, Enforce *Daemon
}

// StartPair runs two daemons without a cache over z until the test ends. Their
// configuration is that of Config with the mode and authServID; change, if it
// is not nil, then edits that of each.
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
