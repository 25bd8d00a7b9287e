package app

import (
	"context"
	"time"

	"sekimori/internal/console"
	"sekimori/internal/history"
	"sekimori/internal/readiness"
	"sekimori/internal/readiness/gather"
	"sekimori/internal/senders"
	"sekimori/internal/stats"
)

// memory returns what answers the console's questions from the store, or nil without a store.
func (a *App) memory() *console.Memory {
	if a.kept.ledger == nil {
		return nil
	}
	return &console.Memory{
		Month: func(ctx context.Context, month time.Time) (*stats.Month, error) {
			return stats.Collect(ctx, a.kept.ledger, stats.Options{Month: month, Classes: a.generation().cfg.Stats.Suffixes(), Now: a.o.Now()})
		},
		Senders: func(ctx context.Context, o senders.Options) (*senders.List, error) {
			r := a.generation().cfg.Report
			o.Ledger, o.Now, o.Organization, o.Contact = a.kept.ledger, a.o.Now(), r.Organization, r.Contact
			return senders.Find(ctx, o)
		},
		Readiness: func(ctx context.Context, days int) (*readiness.Report, error) {
			g := a.generation()
			o := gather.Options{Ledger: a.kept.ledger, Policy: g.rules, Days: days, Now: a.o.Now()}
			if g.cfg.History.What != history.Off {
				o.History = a.kept.history.reader
			}
			return gather.Report(ctx, o)
		},
	}
}
