package app

import (
	"fmt"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// ownDescriptors is how many file descriptors the daemon needs for everything except connections
// of MTAs and DNS queries: listening sockets, the admin address with its clients, the log,
// files.
const ownDescriptors = 64

// descriptorAdvice returns a warning if the configuration can need more open files than the
// process may have. It returns "" if the limit is high enough or not known.
func (a *App) descriptorAdvice(cfg *config.Config) string {
	if a.o.OpenFiles == nil {
		return ""
	}
	limit := a.o.OpenFiles()
	if limit == 0 {
		return ""
	}
	return shortOfDescriptors(limit, cfg.Limits.MaxSessions)
}

func shortOfDescriptors(limit uint64, sessions int) string {
	need := uint64(sessions) + resolver.Sockets + ownDescriptors
	if limit >= need {
		return ""
	}
	return fmt.Sprintf("limits.max_sessions %d needs up to %d file descriptors, and this process may have %d: "+
		"raise LimitNOFILE (systemd) or ulimit -n, or lower limits.max_sessions", sessions, need, limit)
}
