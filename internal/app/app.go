// Package app assembles the daemon from its parts. New opens and checks everything, so that an
// error at the start is returned by New. Start serves. Reload replaces the configuration in effect.
// Stop closes everything in reverse order. Run calls Start and later Stop, for a process that runs
// one daemon.
package app

import (
	"context"
	"crypto/rand"
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
	"sekimori/internal/config"
	"sekimori/internal/console"
	"sekimori/internal/filter"
	"sekimori/internal/milter"
	"sekimori/internal/resolver"
	"sekimori/internal/status"
	"sekimori/internal/telemetry"
	"sekimori/internal/topology"
	"sekimori/internal/watchlist"
)

// adminStop is how long Stop waits for HTTP requests to the admin address that are being
// answered.
const adminStop = 5 * time.Second

// App is one daemon.
type App struct {
	o          Options
	began      time.Time
	log        *slog.Logger
	logOut     *telemetry.LogWriter
	logTo      *telemetry.Switch
	metrics    *telemetry.Metrics
	topology   *topology.Watch
	unknown    *telemetry.UnknownClients
	watcher    *watchlist.Watcher
	dnsMetrics *resolver.Metrics
	reports    *telemetry.Reports
	// farmMetrics counts the hosts that share the store.
	farmMetrics *telemetry.Farm
	kept        storeParts
	marks       markParts
	instance    string // names this run of the daemon to others that share the store
	hosts       atomic.Pointer[status.Hosts]
	standing    atomic.Pointer[status.Reports] // how the reports stand; nil before the store was read
	filter      *filter.Filter
	server      *milter.Server
	console     *console.Console
	ready       atomic.Bool
	served      chan error // receives the error of the first listener that fails
	// retiring counts the goroutines that close the parts of replaced configurations.
	retiring sync.WaitGroup
	steps    []step // what New and Start did and Stop must undo
	// reloading is held during a reload, so that there is one reload at a time. It is locked before
	// mu. While a reload reads files, it does not hold mu, so that a slow file system does not
	// block others.
	reloading   sync.Mutex
	readTimeout time.Duration // how long a reload may take to read files
	hung        atomic.Int32  // how many reloads were given up and still wait for a file
	stopped     chan struct{} // closed when Stop begins

	// mu makes Start, the commit of a Reload and Stop exclude each other. After New, the fields
	// below mu change only while mu is held.
	mu       sync.Mutex
	current  *generation
	sockets  []*socket
	admin    *admin.Server // nil if the admin address is off
	bounces  *bounces      // nil if bounces are not heard
	stopBy   time.Time     // when Stop must have ended; zero before Stop
	started  bool
	stopping bool
	reload   Reloading // the outcome of the last reload
	since    time.Time // when current came into effect
	// monitorSince is when the daemon came into monitor mode. It is zero in mode enforce.
	monitorSince time.Time
}

// New makes the daemon and binds its addresses. It serves nothing before Start. If a step fails,
// New undoes the steps before it, the last one first. The metrics stay registered with
// Options.Registry.
func New(cfg *config.Config, o Options) (*App, error) {
	a := newApp(o)
	for _, s := range []struct {
		name string
		do   func() (undo func() error, err error)
	}{
		{"log", func() (func() error, error) { return a.openLog(cfg.Log) }},
		{"metrics", func() (func() error, error) { return nil, a.registerMetrics() }},
		{"store", func() (func() error, error) { return a.openStore(cfg) }},
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

// newApp returns an App for which no step of the start was done yet.
func newApp(o Options) *App {
	logTo := telemetry.NewSwitch(slog.DiscardHandler)
	return &App{
		o: o, began: o.Now(), instance: rand.Text(), log: slog.New(logTo), logTo: logTo,
		served: make(chan error, 1), stopped: make(chan struct{}), readTimeout: readTimeout,
	}
}

// openLog opens the log in the configured format.
func (a *App) openLog(cfg config.Log) (undo func() error, err error) {
	a.logOut = telemetry.NewLogWriter(a.o.Log)
	logger, err := telemetry.NewLogger(a.logOut, cfg.Format, cfg.Level)
	if err != nil {
		return nil, errors.Join(err, a.logOut.Close())
	}
	a.logTo.Set(logger.Handler())
	return a.logOut.Close, nil
}

// registerMetrics registers the metrics that exist for the whole life of the daemon, whatever
// configuration is in effect.
func (a *App) registerMetrics() (err error) {
	telemetry.RegisterRuntime(a.o.Registry, a.o.Version)
	a.metrics = telemetry.New(a.o.Registry)
	a.topology = topology.New(a.log)
	telemetry.RegisterTopology(a.o.Registry, a.topology)
	a.watcher = watchlist.New(a.o.Now)
	a.unknown = &telemetry.UnknownClients{Log: a.log}
	a.logOut.CountDropped(a.o.Registry)
	a.reports = telemetry.NewReports(a.o.Registry)
	a.marks = newMarkParts(a.o.Registry, a.markEnds)
	a.farmMetrics = telemetry.NewFarm(a.o.Registry)
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

// closeAll closes everything that was opened for the configuration in effect.
func (a *App) closeAll() {
	if a.bounces != nil {
		a.undo(step{"bounces " + a.bounces.at.Address, a.bounces.close})
	}
	if a.admin != nil {
		a.undo(adminStep(a.admin))
	}
	for _, s := range slices.Backward(a.sockets) {
		a.undo(s.step())
	}
	a.unwind(&a.current.steps)
}

// adminStep returns the step whose undo function stops the server of the admin address, within
// adminStop.
func adminStep(s *admin.Server) step {
	return step{"admin address", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), adminStop)
		defer cancel()
		return s.Stop(ctx)
	}}
}

// resolverPanicked counts and logs a panic in the resolver.
func (a *App) resolverPanicked(v any) {
	a.metrics.Panicked(telemetry.PanicResolver)
	a.log.Error("panic", "component", telemetry.PanicResolver, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// Ready returns nil if the daemon takes messages and MTAs can find all of its sockets. Otherwise
// the error says what is wrong.
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

// Addrs returns the bound milter addresses. Where the configuration has port 0, the address has
// the port that the system chose.
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

// AdminAddr returns the bound admin address, or "" if admin.listen is empty.
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

// Start begins to serve in the background.
func (a *App) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = true
	a.runConsole()
	a.watchReports()
	a.watchFarm()
	if a.admin != nil {
		a.admin.Start()
	}
	for _, s := range a.sockets {
		a.serve(s)
	}
	a.current.sender.start()
	a.current.fetcher.start()
	if a.bounces != nil {
		a.bounces.served.start()
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

// servID returns the log's description of the authserv-id.
func servID(cfg *config.Config) string {
	if cfg.AuthservID != "" {
		return cfg.AuthservID
	}
	return "the MTA's name (macro j), else " + cfg.ServID()
}

// Stop accepts no more connections, waits for the sessions in flight until ctx ends, and then
// closes everything. Sessions that are still open when ctx ends are cut off. Stop logs this. It
// is not an error, because the caller chose the time limit.
func (a *App) Stop(ctx context.Context) {
	a.mu.Lock()
	if !a.stopping {
		a.stopping = true // from now on no reload takes effect
		close(a.stopped)
		a.stopBy, _ = ctx.Deadline()
		a.current.sender.end() // it ends the reports under way while sessions end
		a.current.fetcher.end()
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

// Run serves until ctx ends or a listener fails. Then it stops the daemon, with drain_timeout
// for the sessions in flight. If a listener failed, Run returns its error.
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
