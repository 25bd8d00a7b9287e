package reporting

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dispatch"
	"sekimori/internal/dns"
	"sekimori/internal/report"
	storage "sekimori/internal/store"
)

// OpenStore opens the configured store beside the daemon.
func OpenStore(ctx context.Context, cfg *config.Config) (storage.Store, error) {
	if !cfg.Store.On() {
		return nil, fmt.Errorf("%w: store.url is empty in the configuration, so nothing is counted; name a store there first (\"Switching it on\" in reports.md)", ErrUse)
	}
	return app.OpenStoreBeside(ctx, cfg.Store)
}

// NewSender returns a Sender that decides and writes as the configured daemon does, as if sending were
// on. What the configuration lacks is in the reports as a text that says so.
func NewSender(cfg *config.Config, store report.Store, r dns.Resolver, version string, now func() time.Time) (*dispatch.Dispatcher, error) {
	return app.NewSender(cfg, app.SenderOptions{
		Store: store, Resolver: r, Version: version, Now: now, Log: slog.New(slog.DiscardHandler), Preview: true,
	})
}
