package app

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sekimori/internal/config"
)

// Reloading is the outcome of the last reload.
type Reloading struct {
	// Tries is the number of reloads since the start of the process.
	Tries      int       `json:"tries"`
	Successful bool      `json:"successful"`
	At         time.Time `json:"at,omitzero"`
	Error      string    `json:"error,omitempty"`
}

// Running is the daemon's answer at ConfigPath.
type Running struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Hash    string    `json:"hash"`
	Since   time.Time `json:"since"` // when the configuration came into effect
	// Config is the configuration in effect as YAML, with secrets masked.
	Config string    `json:"config"`
	Reload Reloading `json:"reload"`
}

// Running returns the configuration in effect and the outcome of the last reload.
func (a *App) Running() Running {
	a.mu.Lock()
	defer a.mu.Unlock()
	var text strings.Builder
	_ = a.current.cfg.Print(&text) // Print fails only if the writer fails, and a strings.Builder does not
	return Running{
		Version: a.o.Version, PID: a.o.PID, Hash: a.current.cfg.Hash(), Since: a.since, Config: text.String(), Reload: a.reload,
	}
}

var errStopping = errors.New("app: the daemon is stopping")

// Reload replaces the configuration in effect by the one that load returns. It does everything that
// can fail before it changes anything. Messages in progress keep the configuration with which they
// began. On error everything stays as it was, the log says why, and the metric
// config_last_reload_successful is 0. After Stop has begun, Reload only returns an error.
func (a *App) Reload(load func() (*config.Config, error)) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	before := a.generation() // the generation cannot change meanwhile, because reloading is held
	select {
	case <-a.stopped:
		return errStopping
	default:
	}
	asked := before.resolver.Servers()
	a.tell(StateReloading)
	defer a.tell(StateReady)
	g, err := a.read(load, before)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		err = a.replace(g)
	}
	if errors.Is(err, errStopping) {
		return err
	}
	if err != nil {
		// When the generation that failed was built, the metrics may have begun to show its DNS
		// servers. Show makes the metrics show the servers in use again.
		a.current.resolver.Show()
	}
	a.reload = Reloading{Tries: a.reload.Tries + 1, Successful: err == nil, At: a.o.Now()}
	if err != nil {
		a.reload.Error = err.Error()
		a.metrics.ReloadFailed()
		a.logFailure(err)
		return err
	}
	cfg := a.current.cfg
	changed := []string{} // not nil: in JSON the log says [] and not null
	for _, d := range config.Diff(before.cfg, cfg) {
		changed = append(changed, d.Path)
	}
	a.log.Info("configuration reloaded", "hash", cfg.Hash(), "mode", cfg.Mode, "changed", changed)
	if servers := a.current.resolver.Servers(); !slices.Equal(servers, asked) {
		a.log.Info("DNS servers changed", "servers", servers)
	}
	return nil
}

const (
	// readTimeout is how long a reload may take to read files. If a file system hangs, the reload
	// is given up, so that the next reload and Stop do not wait for it.
	readTimeout = 10 * time.Second
	// maxHung is the largest number of reloads that were given up and still wait for a file. Each
	// of them holds goroutines.
	maxHung = 16
)

// read makes a generation of the configuration that load returns. It gives up after readTimeout,
// or when Stop begins.
func (a *App) read(load func() (*config.Config, error), old *generation) (*generation, error) {
	if n := a.hung.Load(); n >= maxHung {
		return nil, fmt.Errorf("app: %d earlier reloads still wait for files that cannot be read; see to their file system", n)
	}
	type outcome struct {
		g   *generation
		err error
	}
	var now atomic.Value // the file that is being read
	now.Store("the configuration")
	done := make(chan outcome, 1)
	go func() {
		cfg, err := load()
		if err == nil {
			if keys := NeedsRestart(old.cfg, cfg); len(keys) > 0 {
				err = fmt.Errorf("app: these changes need a restart, nothing was changed: %s", strings.Join(keys, "; "))
			}
		}
		if err != nil {
			done <- outcome{nil, err}
			return
		}
		g, err := a.build(cfg, old, func(what string) { now.Store(what) })
		done <- outcome{g, err}
	}()
	late := time.NewTimer(a.readTimeout)
	defer late.Stop()
	err := errStopping
	select {
	case o := <-done:
		return o.g, o.err
	case <-a.stopped:
	case <-late.C:
		err = fmt.Errorf("app: %s cannot be read within %s, nothing was changed", strings.TrimSpace(now.Load().(string)), a.readTimeout)
	}
	a.hung.Add(1)
	go func() {
		defer a.hung.Add(-1)
		if o := <-done; o.g != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.discard(&change{generation: o.g})
		}
	}()
	return nil, err
}

// replace makes g the generation in effect. The caller must hold a.mu.
func (a *App) replace(g *generation) error {
	if a.stopping {
		a.unwind(&g.steps)
		return errStopping
	}
	c, err := a.prepare(g)
	if err != nil {
		return err
	}
	a.commit(c)
	return nil
}

// logFailure logs why a reload failed. Each mistake in the configuration file gets its own
// record, with line and column.
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

// NeedsRestart lists the differences between running and next that a reload cannot bring into
// effect. Each has the form "key: why".
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
	if running.Store != next.Store {
		out = append(out, "store: what was counted is written to the store that was open at the start")
	}
	if b := next.Report.Mail.Bounces.Address; next.Report.Sends() && strings.HasPrefix(b, "systemd:") && running.Report.Sends() &&
		(running.Report.Mail.Bounces.Address != b || running.Report.Mail.Bounce != next.Report.Mail.Bounce) {
		out = append(out, "report.mail.bounces "+b+": systemd passes its sockets at the start only")
	}
	if next.Admin.Listen != "" && next.Admin.Listen == running.Admin.Listen && next.Admin.WebConfig != running.Admin.WebConfig {
		out = append(out, "admin.web_config: the address is in use; what is in the file may change at any time")
	}
	return out
}
