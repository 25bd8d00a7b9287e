// Package app wires the daemon: everything that can fail at start fails in
// New, Start serves, Stop undoes in reverse order, Run does it all for one
// process lifetime.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/admin"
	"sekimori/internal/config"
	"sekimori/internal/filter"
	"sekimori/internal/milter"
	"sekimori/internal/recent"
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
	cfg       *config.Config
	log       *slog.Logger
	server    *milter.Server
	listeners []net.Listener
	admin     *admin.Server // nil if off
	recent    *recent.Ring  // nil if off
	ready     atomic.Bool
	served    chan error
	undo      []func()
}

// New builds the daemon and binds its addresses; nothing is served before
// Start. On error whatever was opened is closed again.
func New(cfg *config.Config, o Options) (_ *App, err error) {
	a := &App{cfg: cfg}
	defer func() {
		if err != nil {
			a.unwind()
		}
	}()
	out := telemetry.NewLogWriter(o.Log)
	a.onStop(func() { _ = out.Close() })
	if a.log, err = telemetry.NewLogger(out, cfg.Log.Format, cfg.Log.Level); err != nil {
		return nil, err
	}
	reg := prometheus.NewRegistry()
	telemetry.RegisterRuntime(reg, o.Version)
	metrics := telemetry.New(reg)
	out.CountDropped(reg)

	resolver, err := NewResolver(cfg, reg, func(v any) {
		metrics.Panicked(telemetry.PanicResolver)
		a.log.Error("panic", "component", telemetry.PanicResolver, "value", fmt.Sprint(v), "stack", string(debug.Stack()))
	})
	if err != nil {
		return nil, err
	}
	a.onStop(resolver.Close)
	verifier, err := NewVerifier(cfg, resolver, 0)
	if err != nil {
		return nil, err
	}
	rules, err := Policy(cfg)
	if err != nil {
		return nil, err
	}
	shadow, err := Shadow(cfg)
	if err != nil {
		return nil, err
	}
	if warning := Warnings(cfg, time.Now()); warning != nil {
		a.log.Warn("useless rules", "error", warning)
	}
	metrics.RulesLoaded(rules.Rules)
	observers := []filter.Observer{metrics, telemetry.Records{Log: a.log}}
	if a.recent = newRecent(cfg); a.recent != nil {
		observers = append(observers, a.recent)
	}
	options := filter.Options{
		Verifier: verifier, Policy: rules, Shadow: shadow, AuthServID: cfg.AuthservID,
		TrustedNetwork: cfg.Trusted.Contains, TrustAuthenticated: cfg.Trusted.Authenticated,
		ReceivedSPF: cfg.Headers.ReceivedSPF, Verdict: cfg.Headers.Verdict,
		Subject: cfg.Headers.Subject, Style: filter.Style(cfg.Headers.Style),
		Observers: observers,
	}
	if err := a.openRecipients(&options, metrics); err != nil {
		return nil, err
	}
	f := filter.New(options)
	a.server = milter.New(milter.Options{
		NewSession: f.NewSession, Logger: a.log, Observer: metrics.Sessions(),
		Limits: limits(cfg), ReplyAt: f.ReplyAt(), OnPanic: filter.OnPanic(rules),
	})
	if err := a.listen(); err != nil {
		return nil, err
	}
	if err := a.openAdmin(reg); err != nil {
		return nil, err
	}
	metrics.ConfigLoaded(cfg.Hash(), rules.Mode, time.Now())
	return a, nil
}

func (a *App) onStop(f func()) { a.undo = append(a.undo, f) }

// unwind undoes what New did, the last first.
func (a *App) unwind() {
	for i := len(a.undo) - 1; i >= 0; i-- {
		a.undo[i]()
	}
	a.undo = nil
}

func (a *App) openAdmin(gatherer prometheus.Gatherer) (err error) {
	if a.cfg.Admin.Listen == "" {
		return nil
	}
	a.admin, err = admin.New(admin.Options{
		Listen: a.cfg.Admin.Listen, WebConfig: a.cfg.Admin.WebConfig, Gatherer: gatherer, Ready: a.Ready, Logger: a.log,
		Handlers: a.inspect(gatherer, func() *config.Config { return a.cfg }),
	})
	if err != nil {
		return err
	}
	a.onStop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), adminStop)
		defer cancel()
		if err := a.admin.Stop(ctx); err != nil {
			a.log.Warn("admin address", "error", err)
		}
	})
	return nil
}

// Ready returns nil while messages are taken.
func (a *App) Ready() error {
	if !a.ready.Load() {
		return errors.New("not taking messages")
	}
	return nil
}

// Addrs returns the milter addresses really bound.
func (a *App) Addrs() []net.Addr {
	out := make([]net.Addr, 0, len(a.listeners))
	for _, l := range a.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// AdminAddr returns the admin address really bound, "" if it is off.
func (a *App) AdminAddr() string {
	if a.admin == nil {
		return ""
	}
	return a.admin.Addr()
}

// Start serves in the background.
func (a *App) Start() {
	if a.admin != nil {
		a.admin.Start()
	}
	a.served = make(chan error, len(a.listeners))
	for _, l := range a.listeners {
		go func() { a.served <- a.server.Serve(l) }()
	}
	a.ready.Store(true)
	a.log.Info("serving", "listen", fmt.Sprint(a.Addrs()), "admin", a.AdminAddr(), "mode", a.cfg.Mode, "authserv_id", a.cfg.AuthservID)
}

// Stop takes no more connections, waits for the sessions in flight until
// ctx's deadline, then closes everything. Sessions that outlast the deadline
// are cut off, which is what it is for: the log says so, it is no failure.
func (a *App) Stop(ctx context.Context) {
	a.ready.Store(false)
	a.log.Info("stopping: waiting for sessions in flight")
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.Warn("sessions were cut off by the drain deadline", "error", err)
	}
	a.log.Info("stopped")
	a.unwind()
}

// Run serves until ctx ends or a listener fails, then drains.
func (a *App) Run(ctx context.Context) error {
	a.Start()
	supervisor := newSupervisor(a.log)
	supervisor.ready()
	defer supervisor.close()
	var serveErr error
	select {
	case <-ctx.Done():
	case serveErr = <-a.served:
	}
	supervisor.stopping()
	drain, cancel := context.WithTimeout(context.Background(), time.Duration(a.cfg.DrainTimeout))
	defer cancel()
	a.Stop(drain)
	return serveErr
}
