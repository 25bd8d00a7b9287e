package app

import (
	"io"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/webfetch"
)

// Options are what the daemon needs besides its configuration. Package app takes such things only
// from here and not from the process: it reads no environment variable, changes no setting of the
// Go runtime, and uses only the registry, the log and the clock that it finds here. Log, Now and
// Registry are required.
type Options struct {
	Version string
	PID     int // the process id, which "sekimori reload" asks for
	// Log is the writer of the log, usually standard error.
	Log io.Writer
	Now func() time.Time
	// Registry is where the daemon registers its metrics. The admin address shows all metrics of
	// Registry.
	Registry *prometheus.Registry
	// Sockets are the sockets that the supervisor passed, by name. The daemon serves them for
	// entries "systemd:NAME" of the key listen.
	Sockets map[string][]net.Listener
	// Supervisor is told the state of the daemon. It may be nil.
	Supervisor Supervisor
	// MemoryAllotted is called whenever a configuration comes into effect, with the octets of
	// memory that the configuration allows the process; 0 means no limit. It may be nil.
	MemoryAllotted func(octets int64)
	// OpenFiles returns how many files the process may have open, or 0 if that is not known. It
	// may be nil.
	OpenFiles func() uint64
	// Interfaces returns the addresses of this host, from which the MTA sends reports. It may be nil.
	Interfaces func() ([]net.Addr, error)

	// Fetch changes how marks are fetched. Only tests set it.
	Fetch func(*webfetch.Options)

	onStep func(name string, undo bool) error // called by App.begin and App.undo for every step; only tests set it
}

// State is a state of the daemon, in the words of sd_notify(3).
type State string

// The states that the daemon tells its Supervisor.
const (
	StateReady     State = "READY=1"
	StateReloading State = "RELOADING=1" // StateReady follows, whether or not the reload succeeds
	StateStopping  State = "STOPPING=1"
	StateAlive     State = "WATCHDOG=1"
)

// Supervisor is the program that started the daemon and monitors it, such as systemd.
type Supervisor interface {
	Tell(s State) error
	// Watchdog returns the longest time that the supervisor waits for the next StateAlive, or 0
	// if it does not wait for any.
	Watchdog() (time.Duration, error)
}
