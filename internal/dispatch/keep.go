package dispatch

import (
	"context"
	"errors"
	"time"

	"sekimori/internal/report"
)

const (
	// houseTime is how often the suppressions are looked through.
	houseTime = time.Hour
	// expireHour is the hour (UTC) from which old data is removed, once a day. Windows close at
	// midnight, and most reports are sent in the four hours after it; at noon there is little to do.
	expireHour = 12
)

// housekeeping forgets strikes and counts suppressions every hour, and removes old data at the start
// and once a day.
func (d *Dispatcher) housekeeping(ctx context.Context) {
	var expired report.Day // the day for which it was done last
	for ctx.Err() == nil {
		if err := d.forget(ctx); err != nil && ctx.Err() == nil {
			d.storeFailed(err)
		}
		now := d.now()
		if day := report.DayOf(now.Add(-expireHour * time.Hour)); day != expired {
			if err := d.o.Store.Expire(ctx, now, d.o.Keep); err == nil {
				expired = day
			} else if ctx.Err() == nil {
				d.storeFailed(err)
			}
		}
		sleep(ctx, houseTime)
	}
}

// forget removes the strikes of destinations that take reports again.
func (d *Dispatcher) forget(ctx context.Context) error {
	all, err := d.o.Store.Suppressions(ctx)
	if err != nil {
		return err
	}
	now, n := d.now(), 0
	for _, s := range all {
		if s.Suppressed(now) {
			n++
		}
		if s.Forgotten(now) {
			err := d.o.Store.Unsuppress(ctx, s.Target)
			if err != nil && !errors.Is(err, report.ErrUnknown) { // unknown: another daemon was faster
				return err
			}
		}
	}
	d.o.Events.Suppressed(n)
	return nil
}
