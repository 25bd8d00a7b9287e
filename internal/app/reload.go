package app

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"sekimori/internal/config"
)

// Reloading is how the last reload went.
type Reloading struct {
	// Tries counts from the start of the process.
	Tries      int       `json:"tries"`
	Successful bool      `json:"successful"`
	At         time.Time `json:"at,omitzero"`
	Error      string    `json:"error,omitempty"`
}

// Running is what the daemon tells about itself at ConfigPath.
type Running struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Hash    string    `json:"hash"`
	Since   time.Time `json:"since"` // when the configuration came into effect
	// Config is the configuration in effect as YAML, secrets masked.
	Config string    `json:"config"`
	Reload Reloading `json:"reload"`
}

// Running returns what runs.
func (a *App) Running() Running {
	a.mu.Lock()
	defer a.mu.Unlock()
	var text strings.Builder
	_ = a.current.cfg.Print(&text) // fails only where the writer does
	return Running{
		Version: a.version, PID: os.Getpid(), Hash: a.current.cfg.Hash(), Since: a.since, Config: text.String(), Reload: a.reload,
	}
}

var errStopping = errors.New("app: the daemon is stopping")

// Reload puts the configuration that load returns in the place of the one in
// effect: first everything that can fail, then one step that cannot. Messages
// under way keep the configuration they began with. On error everything stays
// as it was, the log says why, and the metric config_last_reload_successful
// is 0.
func (a *App) Reload(load func() (*config.Config, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		return errStopping
	}
	notifyReloading(a.log)
	defer notifyReady(a.log)
	before := a.current.cfg
	err := a.replace(load)
	a.reload = Reloading{Tries: a.reload.Tries + 1, Successful: err == nil, At: time.Now()}
	if err != nil {
		a.reload.Error = err.Error()
		a.metrics.ReloadFailed()
		a.logFailure(err)
		return err
	}
	cfg := a.current.cfg
	var changed []string
	for _, d := range config.Diff(before, cfg) {
		changed = append(changed, d.Path)
	}
	a.log.Info("configuration reloaded", "hash", cfg.Hash(), "mode", cfg.Mode, "changed", changed)
	return nil
}

func (a *App) replace(load func() (*config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	if keys := NeedsRestart(a.current.cfg, cfg); len(keys) > 0 {
		return fmt.Errorf("app: these changes need a restart, nothing was changed: %s", strings.Join(keys, "; "))
	}
	c, err := a.prepare(cfg)
	if err != nil {
		return err
	}
	a.commit(c)
	return nil
}

// logFailure writes a record for every problem of the file, with its place.
func (a *App) logFailure(err error) {
	const msg = "configuration not reloaded, the old one stays"
	var bad *config.Error
	if !errors.As(err, &bad) || len(bad.Problems) == 0 {
		a.log.Error(msg, "error", err)
		return
	}
	for _, p := range bad.Problems {
		a.log.Error(msg, "file", bad.Name, "line", p.Line, "column", p.Column, "key", p.Path, "error", p.Message)
	}
}

// NeedsRestart lists what a reload cannot change from running to next, each
// as "key: why".
func NeedsRestart(running, next *config.Config) []string {
	var out []string
	bound := map[string]config.Listener{}
	for _, l := range running.Listen {
		bound[l.Address] = l
	}
	for _, l := range next.Listen {
		old, ok := bound[l.Address]
		switch {
		case !ok && strings.HasPrefix(l.Address, "systemd:"):
			out = append(out, "listen "+l.Address+": systemd passes its sockets at the start only")
		case ok && old != l:
			out = append(out, "listen "+l.Address+": mode and group are set when the socket is made")
		}
	}
	if next.Admin.Listen != "" && next.Admin.Listen == running.Admin.Listen && next.Admin.WebConfig != running.Admin.WebConfig {
		out = append(out, "admin.web_config: the address is in use; what is in the file may change at any time")
	}
	return out
}
