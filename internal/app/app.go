// Package app puts the daemon together. Everything that can fail at the start fails
// in New. Start serves. Reload replaces the configuration in effect. Stop undoes
// everything in reverse order. Run does all of this for the lifetime of a process.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/admin"
	"sekimori/internal/blind"
	"sekimori/internal/config"
	"sekimori/internal/console"
	"sekimori/internal/filter"
	"sekimori/internal/milter"
	"sekimori/internal/resolver"
	"sekimori/internal/telemetry"
)

// adminStop is how long Stop waits for scrapes of the admin address that are under way.
const adminStop = 5 * time.Second

// App is one daemon.
type App struct {
	o          Options
	began      time.Time
	log        *slog.Logger
	logOut     *telemetry.LogWriter
	logTo      *telemetry.Switch
	metrics    *telemetry.Metrics
	blind      *blind.Watch
	unknown    *telemetry.UnknownClients
	dnsMetrics *resolver.Metrics
	filter     *filter.Filter
	server     *milter.Server
	console    *console.Console
	ready      atomic.Bool
	served     chan error // receives the error of the first listener that failed
	// retiring waits until everything that earlier configurations opened is closed.
	retiring sync.WaitGroup
	steps    []step // what New and Start began
	// reloading makes reloads wait for each other. It is locked before mu, so that mu
	// is free while a reload reads files.
	reloading   sync.Mutex
	readTimeout time.Duration // the time that a reload has for reading files
	hung        atomic.Int32  // how many reloads were given up and still wait for a file
	stopped     chan struct{} // closed when Stop begins

	// mu orders Start, Reload and Stop. The fields below it change only while it is held.
	mu       sync.Mutex
	current  *generation
	sockets  []*socket
	admin    *admin.Server // nil if the admin address is off
	started  bool
	stopping bool
	reload   Reloading // how the last reload went
	since    time.Time // when current came into effect
}

// New makes the daemon and binds its addresses. It serves nothing before Start. On
// error New undoes everything that it began, the last step first.
func New(cfg *config.Config, o Options) (*App, error) {
	a := newApp(o)
	for _, s := range []struct {
		name string
		do   func() (undo func() error, err error)
	}{
		{"log", func() (func() error, error) { return a.openLog(cfg.Log) }},
		{"metrics", func() (func() error, error) { return nil, a.registerMetrics() }},
		{"console", func() (_ func() error, err error) { a.console, err = a.newConsole(); return nil, err }},
		{"former configurations", func() (func() error, error) { return always(a.retiring.Wait), nil }},
		{"configuration", func() (func() error, error) { return a.beginWith(cfg) }},
	} {
		if err := a.begin(&a.steps, s.name, s.do); err != nil {
			a.unwind(&a.steps)
			return nil, err
		}
	}
	return a, nil
}

// newApp returns an App that has begun nothing.
func newApp(o Options) *App {
	logTo := telemetry.NewSwitch(slog.DiscardHandler)
	return &App{
		o: o, began: o.Now(), log: slog.New(logTo), logTo: logTo,
		served: make(chan error, 1), stopped: make(chan struct{}), readTimeout: readTimeout,
	}
}

// openLog opens the log, in the configured format.
func (a *App) openLog(cfg config.Log) (undo func() error, err error) {
	a.logOut = telemetry.NewLogWriter(a.o.Log)
	logger, err := telemetry.NewLogger(a.logOut, cfg.Format, cfg.Level)
	if err != nil {
		return nil, errors.Join(err, a.logOut.Close())
	}
	a.logTo.Set(logger.Handler())
	return a.logOut.Close, nil
}

// registerMetrics makes the series that stay when the configuration changes.
func (a *App) registerMetrics() (err error) {
	telemetry.RegisterRuntime(a.o.Registry, a.o.Version)
	a.metrics = telemetry.New(a.o.Registry)
	a.blind = blind.New(a.log)
	telemetry.RegisterBlind(a.o.Registry, a.blind)
	a.unknown = &telemetry.UnknownClients{Log: a.log}
	a.logOut.CountDropped(a.o.Registry)
	a.dnsMetrics, err = resolver.NewMetrics(a.o.Registry)
	return err
}

// beginWith puts the first configuration into effect.
func (a *App) beginWith(cfg *config.Config) (undo func() error, err error) {
	g, err := a.build(cfg, nil, func(string) {})
	if err != nil {
		return nil, err
	}
	c, err := a.prepare(g)
	if err != nil {
		return nil, err
	}
	a.filter = filter.New(g.options)
	a.server = milter.New(milter.Options{
		NewSession: a.filter.NewSession, Logger: a.log, Observer: a.metrics.Sessions(),
	})
	telemetry.RegisterReserved(a.o.Registry, a.server.Reserved)
	a.commit(c)
	return always(a.closeAll), nil
}

// closeAll closes everything that the configuration in effect opened.
func (a *App) closeAll() {
	if a.admin != nil {
		a.undo(adminStep(a.admin))
	}
	for _, s := range slices.Backward(a.sockets) {
		a.undo(s.step())
	}
	a.unwind(&a.current.steps)
}

// adminStep returns the step that bound the address of s. Undoing it takes at most
// adminStop.
func adminStep(s *admin.Server) step {
	return step{"admin address", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), adminStop)
		defer cancel()
		return s.Stop(ctx)
	}}
}

// resolverPanicked counts and logs a panic of the resolver.
func (a *App) resolverPanicked(v any) {
	a.metrics.Panicked(telemetry.PanicResolver)
	a.log.Error("panic", "component", telemetry.PanicResolver, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// Ready returns nil while the daemon takes messages and MTAs can find each of its
// sockets. Otherwise the error says what is wrong.
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

// Addrs returns the milter addresses that are bound. A port 0 of the configuration is
// a real port here.
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

// AdminAddr returns the admin address that is bound, or "" if it is off.
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

// Start begins to serve, in the background.
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
	a.steps = append(a.steps, step{"watch over sockets", always(func() { <-watched })})
	a.ready.Store(true)
	cfg := a.current.cfg
	listen := []string{}
	for _, addr := range a.addrs() {
		listen = append(listen, addr.String())
	}
	a.log.Info("serving", "listen", strings.Join(listen, ", "), "admin", a.adminAddr(), "mode", cfg.Mode, "authserv_id", servID(cfg))
}

// servID describes the authserv-id, for the log.
func servID(cfg *config.Config) string {
	if cfg.AuthservID != "" {
		return cfg.AuthservID
	}
	return "the MTA's name (macro j), else " + cfg.ServID()
}

// Stop takes no more connections, waits for the sessions in flight until ctx ends, then
// closes everything. Sessions that are still there when ctx ends are cut off. The log
// says so; it is not an error, because ctx is the deadline for them.
func (a *App) Stop(ctx context.Context) {
	a.mu.Lock()
	if !a.stopping {
		a.stopping = true // from here on no reload takes effect
		close(a.stopped)
	}
	a.mu.Unlock()
	a.ready.Store(false)
	a.log.Info("stopping: waiting for sessions in flight")
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.Warn("sessions were cut off by the drain deadline", "error", err)
	}
	a.log.Info("stopped")
	a.unwind(&a.steps)
}

// Run serves until ctx ends or a listener fails. Then it stops the daemon and gives the
// sessions in flight the configured time. The error is that of the listener.
func (a *App) Run(ctx context.Context) error {
	a.Start()
	watchdog := a.newWatchdog()
	defer watchdog.close()
	a.tell(StateReady)
	var serveErr error
	select {
	case <-ctx.Done():
	case serveErr = <-a.served:
	}
	a.tell(StateStopping)
	drain, cancel := context.WithTimeout(context.Background(), time.Duration(a.generation().cfg.DrainTimeout))
	defer cancel()
	a.Stop(drain)
	return serveErr
}

// generation returns the generation in effect.
func (a *App) generation() *generation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}
