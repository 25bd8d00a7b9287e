package app

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/config"
	"sekimori/internal/recent"
	"sekimori/internal/status"
)

// Paths of the admin address at which programs look into the daemon.
const (
	DecisionsPath = "/api/decisions" // recent.Answer
	StatusPath    = "/api/status"    // status.Status
)

// newRecent makes the configured memory of decisions, nil if it is off.
func newRecent(cfg *config.Config) *recent.Ring {
	if cfg.Admin.Recent == 0 || cfg.Admin.Listen == "" {
		return nil
	}
	return recent.New(recent.Options{Entries: cfg.Admin.Recent})
}

// inspect is what the admin address answers besides metrics and health. cfg
// returns the configuration in effect.
func (a *App) inspect(gatherer prometheus.Gatherer, cfg func() *config.Config) map[string]http.Handler {
	handlers := map[string]http.Handler{StatusPath: status.Handler(status.Options{
		Gatherer: gatherer, Started: time.Now(), Ready: a.Ready,
		Limits: func() status.Limits {
			c := cfg()
			return status.Limits{
				MaxSessions: c.Limits.MaxSessions, HeaderFields: c.Limits.HeaderFields, HeaderBytes: int64(c.Limits.HeaderBytes),
				Recipients: c.Limits.Recipients, MessageBudget: time.Duration(c.DNS.MessageBudget),
			}
		},
	})}
	if a.recent != nil {
		handlers[DecisionsPath] = a.recent.Handler()
	}
	return handlers
}
