package app

import (
	"fmt"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// ownDescriptors is for all that is neither a connection of an MTA nor a query:
// listening sockets, the admin address with its clients, log, files.
const ownDescriptors = 64

// descriptorAdvice says that the process may not open as many files as its
// configuration can need. It is "" if the process may, or if its limit is not known.
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
	return fmt.Sprintf("limits.max_sessions %d needs up to %d file descriptors, and this process may have %d: raise LimitNOFILE (systemd) or ulimit -n, or lower limits.max_sessions", sessions, need, limit)
}
