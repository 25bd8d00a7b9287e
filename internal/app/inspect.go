package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/console"
	"sekimori/internal/history/archive"
	"sekimori/internal/policy"
	"sekimori/internal/printable"
	"sekimori/internal/recent"
	"sekimori/internal/status"
	"sekimori/internal/telemetry"
)

// The paths at the admin address under which programs ask the daemon.
const (
	DecisionsPath = "/api/decisions" // answers with a recent.Answer
	StatusPath    = "/api/status"    // answers with a status.Status
	ConfigPath    = "/api/config"    // answers with a Running
	ProfilePath   = "/debug/pprof/"  // the pages of net/http/pprof, only with admin.pprof
)

// newRecent makes the store of recent decisions, or returns nil if admin.recent or admin.listen
// turns it off. If admin.recent has not changed, the new generation keeps the store of the old
// one.
func newRecent(cfg *config.Config, old *generation) *recent.Ring {
	switch {
	case cfg.Admin.Recent == 0 || cfg.Admin.Listen == "":
		return nil
	case old != nil && old.recent != nil && old.cfg.Admin.Recent == cfg.Admin.Recent:
		return old.recent
	}
	return recent.New(recent.Options{Entries: cfg.Admin.Recent})
}

// inspect returns the handlers of the admin address, except those of metrics and health.
func (a *App) inspect() map[string]http.Handler {
	handlers := a.console.Handlers()
	handlers[StatusPath] = status.Handler(a.status)
	handlers[DecisionsPath] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := a.finder()
		if f.Ring == nil && f.Reader == nil {
			http.NotFound(w, r)
			return
		}
		recent.Handler(f.Answer).ServeHTTP(w, r)
	})
	handlers[HostsPath] = http.HandlerFunc(a.serveHosts)
	handlers[ConfigPath] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(printable.NewWriter(w)).Encode(a.Running()) // an error means that the client is gone
	})
	for path, h := range map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
	} {
		handlers[ProfilePath+path] = a.whereProfiled(h)
	}
	return handlers
}

// whereProfiled returns a handler that calls h only while admin.pprof is on, because profiles
// show the contents of memory.
func (a *App) whereProfiled(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.generation().cfg.Admin.Pprof {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// status collects the contents of the status page from the parts of the daemon.
func (a *App) status() *status.Status {
	return status.Collect(status.Options{
		Version: a.o.Version, Revision: telemetry.Revision(), Started: a.began, Running: a.inEffect, Ready: a.Ready, Listen: a.listens,
		Messages: a.metrics.Counts, DNS: a.dnsMetrics.Counts, LogDropped: a.logOut.Dropped, Topology: a.topology, Now: a.o.Now,
		Reports: a.reportsStanding, Marks: a.markStanding,
		Limits: func() status.Limits {
			c := a.generation().cfg
			return status.Limits{
				MaxSessions: c.Limits.MaxSessions, HeaderFields: c.Limits.HeaderFields, HeaderBytes: int64(c.Limits.HeaderBytes),
				Recipients: c.Limits.Recipients, MessageBudget: time.Duration(c.DNS.MessageBudget),
			}
		},
	})
}

// listens returns the milter addresses in the form in which MTAs write them.
func (a *App) listens() []string {
	out := []string{}
	for _, addr := range a.Addrs() {
		scheme := "inet:"
		if addr.Network() == "unix" {
			scheme = "unix:"
		}
		out = append(out, scheme+addr.String())
	}
	return out
}

// inEffect returns the mode and the configuration in effect, and whether the last reload
// succeeded.
func (a *App) inEffect() (policy.Mode, status.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current.rules.Mode, status.Config{
		Hash: a.current.cfg.Hash(), Loaded: a.since.UTC().Truncate(time.Second),
		LastReloadOK: a.reload.Tries == 0 || a.reload.Successful,
	}
}

// decisions returns the store of recent decisions, or nil if it is off.
func (a *App) decisions() *recent.Ring { return a.generation().recent }

func (a *App) newConsole() (*console.Console, error) {
	return console.New(console.Options{
		Status:    a.status,
		Decisions: a.decisions,
		History:   func() *archive.Reader { return a.kept.history.reader },
		Host:      config.HostName(),
		Hosts:     a.hosts.Load,
		Try:       a.try, TryOff: a.tryOff,
		Watch: a.watcher.Lists,
		Rules: func() []policy.Rule { return a.generation().rules.Rules },
		Config: func() console.Running {
			r := a.Running()
			return console.Running{Text: r.Config, Hash: r.Hash, Since: r.Since, Refused: r.Reload.Error}
		},
		Marks:  a.knownMarks,
		Mark:   a.mark,
		Memory: a.memory(),
		Logger: a.log,
		Now:    a.o.Now,
	})
}

// runConsole runs the console in the background until Stop. The console records the history of
// verdicts.
func (a *App) runConsole() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.console.Run(ctx)
	}()
	a.steps = append(a.steps, step{"console", always(func() { cancel(); <-done })})
}
