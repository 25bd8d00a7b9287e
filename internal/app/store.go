package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"sekimori/internal/collect"
	"sekimori/internal/config"
	"sekimori/internal/dispatch/failures"
	"sekimori/internal/farm"
	"sekimori/internal/history/archive"
	"sekimori/internal/learn"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
	"sekimori/internal/store"
	"sekimori/internal/telemetry"
)

// How often rows are written: a crash of the host loses what is younger.
const (
	everySQLite   = 10 * time.Second
	everyPostgres = 30 * time.Second
)

// leastFlush is the time for writing the last rows, if the sessions took all of drain_timeout, and
// mostFlush if they took nothing of it.
const (
	leastFlush = 5 * time.Second
	mostFlush  = time.Minute
)

// maxPasswordFile is the largest size of a file with a password, in octets.
const maxPasswordFile = 4096

// storeParts are the store and what writes to it. They live as long as the daemon: a reload changes
// only their settings. All are nil without a store.
type storeParts struct {
	store  report.Store
	ledger ledger.Store
	spool  *collect.Spool
	rows   *collect.Collector
	// usual knows what is usual for authors, and keeper looks after the ledger.
	usual  *learn.Cache
	keeper *learn.Keeper
	// failures says how many failure reports were sent, and to whom.
	failures *failures.Memory
	history  historyParts
	farm     farm.Store
}

// OpenStore opens the store of a configuration for the daemon. damaged is called if an SQLite file was
// damaged and had to be set aside; it may be nil. PostgreSQL is not asked: the store connects when it
// is used, and again whenever the connection was lost.
func OpenStore(ctx context.Context, cfg config.Store, damaged func(aside string, cause error)) (store.Store, error) {
	password, err := password(storePassword, cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, cfg.URL, store.Options{Password: password, Damaged: damaged})
}

// OpenStoreBeside opens the store of a configuration for a command, while the daemon may be running.
func OpenStoreBeside(ctx context.Context, cfg config.Store) (store.Store, error) {
	password, err := password(storePassword, cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	return store.OpenBeside(ctx, cfg.URL, store.Options{Password: password})
}

// password reads the first line of a file. It returns "" if path is "".
func password(key, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	if err := config.Regular(path); err != nil {
		return "", fmt.Errorf("app: %s: %w", key, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("app: %s: %w", key, err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	line = strings.TrimRight(line, "\r")
	if len(data) > maxPasswordFile || line == "" {
		return "", fmt.Errorf("app: %s: %s has no password in its first line", key, path)
	}
	return line, nil
}

// openStore opens the store and begins to count messages for reports. It does nothing if there is no
// store.
func (a *App) openStore(cfg *config.Config) (undo func() error, err error) {
	if !cfg.Store.On() {
		telemetry.RegisterCollect(a.o.Registry, &collect.Counts{}, nil)
		telemetry.RegisterLedger(a.o.Registry, &collect.Counts{}, nil, nil)
		telemetry.RegisterHistory(a.o.Registry, &archive.Counts{}, nil)
		return nil, nil
	}
	opened, err := OpenStore(context.Background(), cfg.Store, func(aside string, cause error) {
		a.log.Error("the store was damaged; a new one was begun", "set_aside", aside, "error", cause)
	})
	if err != nil {
		return nil, err
	}
	a.marks.store = opened
	p, every := storeParts{store: a.reports.Store(opened), ledger: opened.Ledger(), failures: failures.NewMemory(), farm: opened}, everySQLite
	if !cfg.Store.Embedded() {
		every = everyPostgres
		if p.spool, err = collect.OpenSpool(cfg.Store.Spool.Dir, int64(cfg.Store.Spool.Size)/spoolParts*(spoolParts-1)); err != nil {
			return nil, errors.Join(err, opened.Close())
		}
	}
	if p.history, err = a.openHistory(cfg, opened, every); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.rows = collect.New(collect.Options{
		Store: func() report.Store { return p.store }, Spool: p.spool, Every: every, Now: a.o.Now, Log: a.log,
	}, collectSettings(cfg))
	telemetry.RegisterCollect(a.o.Registry, p.rows.Counts(), p.spool)
	p.usual = learn.New(learn.Options{Store: p.ledger, Now: a.o.Now, Log: a.log})
	p.keeper = learn.NewKeeper(learn.Options{Store: p.ledger, Now: a.o.Now, Log: a.log}, int64(cfg.Ledger.MaxDomains))
	telemetry.RegisterLedger(a.o.Registry, p.rows.Counts(), p.usual, p.keeper)
	a.metrics.CountAuthors(p.keeper.AuthorDomains)
	a.kept = p
	return a.closeStore, nil
}

// closeStore writes the last rows and closes the store. All messages were decided by now.
func (a *App) closeStore() error {
	ctx, cancel := a.flushTime()
	defer cancel()
	a.kept.usual.Close()
	a.kept.keeper.Close()
	var both sync.WaitGroup
	both.Go(func() { a.kept.rows.Stop(ctx) })
	both.Go(func() { a.kept.history.keeper.Stop(ctx) })
	both.Wait()
	return a.kept.close()
}

// close closes the store and the spools.
func (p *storeParts) close() error {
	err := p.store.Close()
	if p.spool != nil {
		err = errors.Join(err, p.spool.Close())
	}
	return errors.Join(err, p.history.close())
}

// flushTime returns the context for writing the last rows: it ends with the time of Stop, but not too
// early.
func (a *App) flushTime() (context.Context, context.CancelFunc) {
	a.mu.Lock()
	left := min(a.stopBy.Sub(a.o.Now()), mostFlush)
	a.mu.Unlock()
	return context.WithTimeout(context.Background(), max(left, leastFlush))
}

func collectSettings(cfg *config.Config) collect.Settings {
	r := &cfg.Report
	return collect.Settings{
		Interval: time.Duration(r.Aggregate.Interval), Spread: time.Duration(r.Aggregate.Spread), Organization: r.Organization,
		MaxRows: int64(r.Aggregate.MaxRows), EnvelopeTo: r.Aggregate.EnvelopeTo, Correspondents: r.Aggregate.Correspondents,
		Domain: dnsName(r.Domain), Group: cfg.Ledger.Group, MaxDomains: int64(cfg.Ledger.MaxDomains),
	}
}
