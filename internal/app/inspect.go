package app

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/console"
	"sekimori/internal/policy"
	"sekimori/internal/printable"
	"sekimori/internal/recent"
	"sekimori/internal/status"
)

// Paths of the admin address at which programs look into the daemon.
const (
	DecisionsPath = "/api/decisions" // recent.Answer
	StatusPath    = "/api/status"    // status.Status
	ConfigPath    = "/api/config"    // Running
	ProfilePath   = "/debug/pprof/"  // net/http/pprof, with admin.pprof only
)

// newRecent makes the configured memory of decisions, nil if it is off. The
// one there is goes on where its size stays.
func newRecent(cfg *config.Config, old *generation) *recent.Ring {
	switch {
	case cfg.Admin.Recent == 0 || cfg.Admin.Listen == "":
		return nil
	case old != nil && old.recent != nil && old.cfg.Admin.Recent == cfg.Admin.Recent:
		return old.recent
	}
	return recent.New(recent.Options{Entries: cfg.Admin.Recent})
}

// inspect is what the admin address answers besides metrics and health.
func (a *App) inspect() map[string]http.Handler {
	handlers := a.console.Handlers()
	handlers[StatusPath] = status.Handler(a.statusOptions())
	handlers[DecisionsPath] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ring := a.decisions()
		if ring == nil {
			http.NotFound(w, r)
			return
		}
		ring.Handler().ServeHTTP(w, r)
	})
	handlers[ConfigPath] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(printable.NewWriter(w)).Encode(a.Running()) // a client that is gone needs no answer
	})
	for path, h := range map[string]http.HandlerFunc{"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace} {
		handlers[ProfilePath+path] = a.whereProfiled(h)
	}
	return handlers
}

// whereProfiled answers only while the configuration allows profiles: they show
// what is in memory.
func (a *App) whereProfiled(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.generation().cfg.Admin.Pprof {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (a *App) statusOptions() status.Options {
	return status.Options{
		Gatherer: a.o.Registry, Started: a.began, Ready: a.Ready,
		Limits: func() status.Limits {
			c := a.generation().cfg
			return status.Limits{
				MaxSessions: c.Limits.MaxSessions, HeaderFields: c.Limits.HeaderFields, HeaderBytes: int64(c.Limits.HeaderBytes),
				Recipients: c.Limits.Recipients, MessageBudget: time.Duration(c.DNS.MessageBudget),
			}
		},
	}
}

// decisions is nil while they are not remembered.
func (a *App) decisions() *recent.Ring { return a.generation().recent }

func (a *App) newConsole() (*console.Console, error) {
	return console.New(console.Options{
		Status:    func() (*status.Status, error) { return status.Collect(a.statusOptions()) },
		Decisions: a.decisions,
		Rules:     func() []policy.Rule { return a.generation().rules.Rules },
		Config: func() console.Running {
			r := a.Running()
			return console.Running{Text: r.Config, Hash: r.Hash, Since: r.Since, Refused: r.Reload.Error}
		},
		Logger: a.log,
		Now:    a.o.Now,
	})
}

// runConsole keeps its history of verdicts until the end.
func (a *App) runConsole() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.console.Run(ctx)
	}()
	a.steps = append(a.steps, step{"console", always(func() { cancel(); <-done })})
}
