// Package store opens the store that store.url names.
package store

import (
	"context"
	"strings"

	"sekimori/internal/bimi"
	"sekimori/internal/farm"
	"sekimori/internal/history"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
	"sekimori/internal/store/postgres"
	"sekimori/internal/store/sqlite"
)

// Store is all that a store keeps.
type Store interface {
	report.Store
	bimi.Store
	history.Store
	farm.Store
	// Ledger returns the part of the store that remembers authors. It is closed with the store.
	Ledger() ledger.Store
}

// Options are what a URL does not say.
type Options struct {
	Password string // of PostgreSQL, "" for none; a URL has none, because URLs are printed
	// Damaged is called when an SQLite file was damaged. It was then set aside under the name aside, and
	// a new one was begun. May be nil.
	Damaged func(aside string, cause error)
}

// File returns the path of the file in which the store of a URL is, or "" if it is not a file of this
// host.
func File(url string) string {
	path, embedded := strings.CutPrefix(url, "sqlite:")
	if !embedded {
		return ""
	}
	return path
}

// Open opens the store for the daemon. An SQLite file can have only one daemon.
func Open(ctx context.Context, url string, o Options) (Store, error) {
	if path := File(url); path != "" {
		return some(sqlite.Open(ctx, path, sqlite.Options{Damaged: o.Damaged}))
	}
	return some(postgres.Open(ctx, url, o.Password))
}

// OpenBeside opens the store for a command, while the daemon may be running.
func OpenBeside(ctx context.Context, url string, o Options) (Store, error) {
	if path := File(url); path != "" {
		return some(sqlite.OpenBeside(ctx, path))
	}
	return some(postgres.Open(ctx, url, o.Password))
}

// some makes an error come without a store: a nil pointer in an interface would not be nil.
func some[S Store](s S, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}
