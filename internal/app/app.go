// Package app wires the daemon: everything that can fail at start fails in
// New, Start serves, Reload puts another configuration in the place of the one
// that runs, Stop undoes in reverse order, Run does it all for one process
// lifetime.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/admin"
	"sekimori/internal/blind"
	"sekimori/internal/config"
	"sekimori/internal/console"
	"sekimori/internal/filter"
	"sekimori/internal/milter"
	"sekimori/internal/milter/sockets"
	"sekimori/internal/resolver"
	"sekimori/internal/telemetry"
)

// adminStop bounds how long scrapes in flight may hold up the end.
const adminStop = 5 * time.Second

// Options are what the command line adds to the configuration.
type Options struct {
	Version string
	// Log is where the log goes, usually standard error.
	Log io.Writer
}

// App is one daemon.
type App struct {
	version    string
	began      time.Time
	log        *slog.Logger
	logOut     *telemetry.LogWriter
	logTo      *telemetry.Switch
	registry   *prometheus.Registry
	metrics    *telemetry.Metrics
	blind      *blind.Watch
	unknown    *telemetry.UnknownClients
	dnsMetrics *resolver.Metrics
	filter     *filter.Filter
	server     *milter.Server
	console    *console.Console
	systemd    map[string][]net.Listener // sockets passed at start
	ready      atomic.Bool
	served     chan error // the first listener that failed
	retiring   sync.WaitGroup
	undo       undo
	// reloading lets one reload at a time in. It is taken before mu, which is
	// free while a reload reads files.
	reloading   sync.Mutex
	readTimeout time.Duration // for that reading
	hung        atomic.Int32  // reloads that were given up and still read
	stopped     chan struct{} // closed when Stop begins

	// mu orders Start, Reload and Stop; what is below changes under it only.
	mu       sync.Mutex
	current  *generation
	sockets  []*socket
	admin    *admin.Server // nil if off
	started  bool
	stopping bool
	reload   Reloading // the last try
	since    time.Time // when current came into effect
}

// New builds the daemon and binds its addresses; nothing is served before
// Start. On error whatever was opened is closed again.
func New(cfg *config.Config, o Options) (_ *App, err error) {
	a := &App{version: o.Version, began: time.Now(), served: make(chan error, 1), stopped: make(chan struct{}), readTimeout: readTimeout}
	defer func() {
		if err != nil {
			a.undo.unwind()
		}
	}()
	a.logOut = telemetry.NewLogWriter(o.Log)
	a.undo.add(func() { _ = a.logOut.Close() })
	a.undo.add(collect())
	a.logTo = telemetry.NewSwitch(slog.DiscardHandler)
	a.log = slog.New(a.logTo)
	a.registry = prometheus.NewRegistry()
	telemetry.RegisterRuntime(a.registry, o.Version)
	a.metrics = telemetry.New(a.registry)
	a.blind = blind.New(a.log)
	telemetry.RegisterBlind(a.registry, a.blind)
	a.unknown = &telemetry.UnknownClients{Log: a.log}
	a.logOut.CountDropped(a.registry)
	if a.dnsMetrics, err = resolver.NewMetrics(a.registry); err != nil {
		return nil, err
	}
	if a.systemd, err = sockets.Systemd(); err != nil {
		return nil, err
	}
	a.undo.add(a.retiring.Wait)
	if a.console, err = a.newConsole(); err != nil {
		return nil, err
	}

	g, err := a.build(cfg, nil, func(string) {})
	if err != nil {
		return nil, err
	}
	c, err := a.prepare(g)
	if err != nil {
		return nil, err
	}
	a.filter = filter.New(c.generation.options)
	a.server = milter.New(milter.Options{
		NewSession: a.filter.NewSession, Logger: a.log, Observer: a.metrics.Sessions(),
	})
	telemetry.RegisterReserved(a.registry, a.server.Reserved)
	a.commit(c)
	a.undo.add(a.closeAll)
	return a, nil
}

// closeAll closes what the configuration in effect opened.
func (a *App) closeAll() {
	a.stopAdmin(a.admin)
	for _, s := range a.sockets {
		s.close()
	}
	a.current.undo.unwind()
}

// stopAdmin ends s by adminStop at the latest; nil is one that is off.
func (a *App) stopAdmin(s *admin.Server) {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminStop)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		a.log.Warn("admin address", "error", err)
	}
}

// resolverPanicked is told of bugs below the DNS cache.
func (a *App) resolverPanicked(v any) {
	a.metrics.Panicked(telemetry.PanicResolver)
	a.log.Error("panic", "component", telemetry.PanicResolver, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// Ready returns nil while messages are taken, and MTAs find every socket.
func (a *App) Ready() error {
	if !a.ready.Load() {
		return errors.New("not taking messages")
	}
	a.mu.Lock()
	sockets := a.sockets
	a.mu.Unlock()
	for _, s := range sockets {
		if err := s.lost(); err != nil {
			return err
		}
	}
	return nil
}

// Addrs returns the milter addresses really bound.
func (a *App) Addrs() []net.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addrs()
}

func (a *App) addrs() []net.Addr {
	var out []net.Addr
	for _, s := range a.sockets {
		for _, l := range s.listeners {
			out = append(out, l.Addr())
		}
	}
	return out
}

// AdminAddr returns the admin address really bound, "" if it is off.
func (a *App) AdminAddr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.adminAddr()
}

func (a *App) adminAddr() string {
	if a.admin == nil {
		return ""
	}
	return a.admin.Addr()
}

// Start serves in the background.
func (a *App) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = true
	a.runConsole()
	if a.admin != nil {
		a.admin.Start()
	}
	for _, s := range a.sockets {
		a.serve(s)
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		a.watchSockets()
	}()
	a.undo.add(func() { <-watched })
	a.ready.Store(true)
	cfg := a.current.cfg
	listen := []string{}
	for _, addr := range a.addrs() {
		listen = append(listen, addr.String())
	}
	a.log.Info("serving", "listen", strings.Join(listen, ", "), "admin", a.adminAddr(), "mode", cfg.Mode, "authserv_id", servID(cfg))
}

// servID is the authserv-id for the log.
func servID(cfg *config.Config) string {
	if cfg.AuthservID != "" {
		return cfg.AuthservID
	}
	return "the MTA's name (macro j), else " + cfg.ServID()
}

// Stop takes no more connections, waits for the sessions in flight until
// ctx's deadline, then closes everything. Sessions that outlast the deadline
// are cut off, which is what it is for: the log says so, it is no failure.
func (a *App) Stop(ctx context.Context) {
	a.mu.Lock()
	if !a.stopping {
		a.stopping = true // no reload from here on
		close(a.stopped)
	}
	a.mu.Unlock()
	a.ready.Store(false)
	a.log.Info("stopping: waiting for sessions in flight")
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.Warn("sessions were cut off by the drain deadline", "error", err)
	}
	a.log.Info("stopped")
	a.undo.unwind()
}

// Run serves until ctx ends or a listener fails, then drains.
func (a *App) Run(ctx context.Context) error {
	a.Start()
	watchdog := newWatchdog(a.log)
	defer watchdog.close()
	notifyReady(a.log)
	var serveErr error
	select {
	case <-ctx.Done():
	case serveErr = <-a.served:
	}
	notifyStopping(a.log)
	drain, cancel := context.WithTimeout(context.Background(), time.Duration(a.generation().cfg.DrainTimeout))
	defer cancel()
	a.Stop(drain)
	return serveErr
}

// generation returns the one in effect.
func (a *App) generation() *generation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// undo is what is to be undone at an end.
type undo []func()

func (u *undo) add(f func()) { *u = append(*u, f) }

// unwind undoes everything, the last first.
func (u *undo) unwind() {
	for i := len(*u) - 1; i >= 0; i-- {
		(*u)[i]()
	}
	*u = nil
}
