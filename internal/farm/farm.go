// Package farm says what the daemons of several hosts that share a store tell each other: who runs, since
// when, with which version and configuration, and how it is doing. It also has the lease by which one of
// them does the work that only one should do.
package farm

import (
	"context"
	"time"
)

const (
	// Every is the time between two heartbeats of a daemon.
	Every = 10 * time.Second
	// StaleAfter is the age of a heartbeat after which something is wrong with the host: three are missing.
	StaleAfter = 35 * time.Second
	// Keep is how long a host is shown after its last heartbeat.
	Keep = 7 * 24 * time.Hour
	// MaxHosts is how many runs of daemons are read. More are the work of a daemon that crashes all the time.
	MaxHosts = 1000
)

// Beat is the heartbeat of one run of a daemon.
type Beat struct {
	Instance string    `json:"instance"` // chosen at random when the daemon starts
	Name     string    `json:"name"`     // of the host
	Version  string    `json:"version"`
	Config   string    `json:"config"` // hash of the configuration in effect, without what every host has of its own
	Mode     string    `json:"mode"`
	Since    time.Time `json:"since"` // when the daemon started
	// Uptime is how long the daemon had been running when it sent this.
	Uptime time.Duration `json:"uptime_ns"`
	Loaded time.Time     `json:"loaded"` // when the configuration came into effect
	// NotReady says why the daemon takes no messages; "" if it does.
	NotReady string `json:"not_ready,omitempty"`
	// Messages counts the messages of the last minute by verdict.
	Messages map[string]int64 `json:"messages"`
	DNS      DNS              `json:"dns"`
}

// DNS says how the DNS servers of a host are doing.
type DNS struct {
	Servers int `json:"servers"`
	Up      int `json:"up"`
	// Failed is how many queries of the last minute had no answer, of Queries.
	Failed  int64 `json:"failed"`
	Queries int64 `json:"queries"`
}

// Host is a Beat that was read from the store.
type Host struct {
	Beat
	// Age is how long ago the store got it, by the clock of the store.
	Age time.Duration `json:"age_ns"`
}

// Store keeps the heartbeats and the leases. All methods are safe for concurrent use, also by several
// processes, if the database can be used by several.
type Store interface {
	// Beat stores the heartbeat of an instance in place of its last one, and removes those that are older
	// than Keep.
	Beat(ctx context.Context, now time.Time, b Beat) error
	// Leave removes the heartbeat of an instance, because its daemon stops.
	Leave(ctx context.Context, instance string) error
	// Hosts returns the heartbeats, the youngest first, at most MaxHosts.
	Hosts(ctx context.Context, now time.Time) ([]Host, error)
	// Lease reports whether owner may do the named work until now + d. It may if it has the lease, or if
	// the lease of another has run out.
	Lease(ctx context.Context, now time.Time, name, owner string, d time.Duration) (bool, error)
}
