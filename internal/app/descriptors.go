package app

import (
	"fmt"
	"syscall"

	"sekimori/internal/config"
	"sekimori/internal/resolver"
)

// ownDescriptors is for all that is neither a connection of an MTA nor a query:
// listening sockets, the admin address with its clients, log, files.
const ownDescriptors = 64

// descriptorAdvice says that the process may not open as many files as its
// configuration can need, "" if it may.
func descriptorAdvice(cfg *config.Config) string {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return "" // it cannot be told
	}
	return shortOfDescriptors(limit.Cur, cfg.Limits.MaxSessions)
}

func shortOfDescriptors(limit uint64, sessions int) string {
	need := uint64(sessions) + resolver.Sockets + ownDescriptors
	if limit >= need {
		return ""
	}
	return fmt.Sprintf("limits.max_sessions %d needs up to %d file descriptors, and this process may have %d: raise LimitNOFILE (systemd) or ulimit -n, or lower limits.max_sessions", sessions, need, limit)
}
