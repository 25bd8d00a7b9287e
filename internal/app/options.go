package app

import (
	"io"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what the daemon gets besides its configuration. The package
// itself takes nothing from the process that it runs in: it reads no
// environment, changes no setting of the runtime and uses no registry, logger or
// clock but these. Log, Now and Registry are required.
type Options struct {
	Version string
	PID     int // the process id, which "sekimori reload" asks for
	// Log is where the log goes, usually standard error.
	Log io.Writer
	Now func() time.Time
	// Registry takes the daemon's metrics. The admin address shows all metrics in it.
	Registry *prometheus.Registry
	// Sockets are those that the supervisor passed, by name; they serve
	// "systemd:NAME" of the key listen.
	Sockets map[string][]net.Listener
	// Supervisor is told how the daemon is; nil if there is none.
	Supervisor Supervisor
	// MemoryAllotted is called whenever a configuration comes into effect, with the
	// octets of memory that it allots to the process; 0 means no bound. It may be nil.
	MemoryAllotted func(octets int64)
	// OpenFiles returns how many files the process may have open, 0 if that cannot be
	// found out. It may be nil.
	OpenFiles func() uint64

	onStep func(name string, undo bool) error // see App.begin; for tests
}

// State is how the daemon is, in the words of sd_notify(3).
type State string

// The states that a Supervisor is told of.
const (
	StateReady     State = "READY=1"
	StateReloading State = "RELOADING=1" // StateReady follows, whether or not the reload succeeds
	StateStopping  State = "STOPPING=1"
	StateAlive     State = "WATCHDOG=1"
)

// Supervisor is the program that started the daemon and watches over it, such as
// systemd.
type Supervisor interface {
	Tell(s State) error
	// Watchdog returns the time within which the supervisor expects each
	// StateAlive; 0 if it expects none.
	Watchdog() (time.Duration, error)
}
