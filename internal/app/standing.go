package app

import (
	"context"
	"time"

	"sekimori/internal/status"
)

const (
	// standingEvery is how often the store is asked how the reports stand. It is asked in the background,
	// so that neither a scrape nor a page waits for a database.
	standingEvery = 30 * time.Second
	// standingTime is how long the store has for its answer.
	standingTime = 10 * time.Second
)

// watchReports keeps what the status says about reports up to date, until Stop. It does nothing without
// a store.
func (a *App) watchReports() {
	if a.kept.store == nil {
		return
	}
	b := newBackground(func(ctx context.Context) {
		tick := time.NewTicker(standingEvery)
		defer tick.Stop()
		for {
			a.standing.Store(a.readReports(ctx))
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	b.start()
	a.steps = append(a.steps, step{"status of reports", always(b.stop)})
}

// readReports asks the store how the reports stand. If the store does not answer, the last answer
// stays, with the error.
func (a *App) readReports(ctx context.Context) *status.Reports {
	ctx, cancel := context.WithTimeout(ctx, standingTime)
	defer cancel()
	now := a.o.Now()
	summary, err := a.kept.store.Summary(ctx, now)
	if err == nil {
		suppressions, failed := a.kept.store.Suppressions(ctx)
		if err = failed; err == nil {
			a.reports.Oldest(summary.Oldest, now)
			return status.SummarizeReports(summary, suppressions, false, now)
		}
	}
	old := a.standing.Load()
	if old == nil {
		old = &status.Reports{Read: now.UTC()}
	}
	with := *old
	with.Error = err.Error()
	return &with
}

// reportsStanding returns how the reports stood a moment ago, or nil if there is no store.
func (a *App) reportsStanding() *status.Reports {
	last := a.standing.Load()
	if last == nil {
		return nil
	}
	now := *last
	now.Sending = a.generation().cfg.Report.Aggregate.Send
	return &now
}
