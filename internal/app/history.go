package app

import (
	"context"
	"path/filepath"
	"time"

	"sekimori/internal/collect"
	"sekimori/internal/config"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/store"
	"sekimori/internal/telemetry"
)

const (
	// spoolParts: one part of that many of store.spool.size is for the history, and the rest for reports.
	spoolParts = 4
	// expireLease is how long a daemon is the one that removes old days. It is longer than the time
	// between two looks, so that the same daemon goes on.
	expireLease = 15 * time.Minute
)

// historyParts are what keeps decisions in the store, and what finds them there.
type historyParts struct {
	keeper *archive.Keeper
	reader *archive.Reader
	spool  *collect.Files[history.Batch] // nil with SQLite
}

// openHistory begins to keep decisions.
func (a *App) openHistory(cfg *config.Config, opened store.Store, every time.Duration) (h historyParts, err error) {
	defer func() {
		if err != nil {
			_ = h.close() // the first error says more
		}
	}()
	if !cfg.Store.Embedded() {
		h.spool, err = collect.OpenFiles(filepath.Join(cfg.Store.Spool.Dir, "history"), int64(cfg.Store.Spool.Size)/spoolParts,
			collect.Codec[history.Batch]{Encode: history.Encode, Decode: history.Decode})
		if err != nil {
			return h, err
		}
	}
	of := func() history.Store { return opened }
	if h.reader, err = archive.NewReader(of); err != nil {
		return h, err
	}
	h.keeper, err = archive.New(archive.Options{
		Store: of, Spool: h.spool, Every: every, Host: config.HostName(), Now: a.o.Now, Log: a.log,
		May: func(ctx context.Context) bool {
			may, err := opened.Lease(ctx, a.o.Now(), "history", a.instance, expireLease)
			return may && err == nil
		},
	}, historySettings(cfg))
	if err != nil {
		return h, err
	}
	telemetry.RegisterHistory(a.o.Registry, h.keeper.Counts(), h.spool)
	return h, nil
}

func (h *historyParts) close() error {
	if h.spool == nil {
		return nil
	}
	return h.spool.Close()
}

func historySettings(cfg *config.Config) archive.Settings {
	h := &cfg.History
	s := archive.Settings{
		What: h.What, Consents: cfg.Policy.Recipients.Asked(), Recipients: h.Recipients, Keep: time.Duration(h.Keep), Size: int64(h.Size),
	}
	if cfg.Log.Privacy == config.PrivacyLocalParts {
		s.Mask = telemetry.Masked
	}
	return s
}

// finder returns what finds decisions: those that the daemon remembers, and those in the store. It is the
// zero value if there are neither.
func (a *App) finder() archive.Finder {
	return archive.Finder{Ring: a.decisions(), Reader: a.kept.history.reader, Host: config.HostName()}
}
