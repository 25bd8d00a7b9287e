package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sekimori/internal/report"
)

// FirstFailure is the first delivery id that stands for a failure report. Stores count their ids from 1.
const FirstFailure = 1 << 62

// Echo learns from reports that came back. Its methods are what package bounce asks for, and safe for
// concurrent use.
type Echo struct {
	// Failures returns the address of a failure report by its delivery, which is not in the store. nil
	// means that there are none.
	Failures func(delivery int64) (address string, ok bool)

	store  report.Store
	now    func() time.Time
	mu     sync.Mutex
	secret []byte // of the store; nil until it was read
}

// NewEcho returns an Echo. The function now may be nil.
func NewEcho(s report.Store, now func() time.Time) *Echo {
	if now == nil {
		now = time.Now
	}
	return &Echo{store: s, now: now}
}

// Known returns the delivery that a bounce token belongs to. The error is report.ErrUnknown if the
// token is not ours, or the delivery is no longer in the store. A token that is not ours costs no
// question to the store.
func (e *Echo) Known(ctx context.Context, token string) (int64, error) {
	secret, err := e.readSecret(ctx)
	if err != nil {
		return 0, fmt.Errorf("dispatch: %w", err)
	}
	id, ok := report.ParseBounceToken(secret, token)
	if !ok {
		return 0, report.ErrUnknown
	}
	if id >= FirstFailure {
		if _, ok := e.failure(id); !ok {
			return 0, report.ErrUnknown
		}
		return id, nil
	}
	if _, err := e.store.Delivery(ctx, id); err != nil {
		return 0, fmt.Errorf("dispatch: delivery %d: %w", id, err)
	}
	return id, nil
}

func (e *Echo) failure(id int64) (string, bool) {
	if e.Failures == nil {
		return "", false
	}
	return e.Failures(id)
}

func (e *Echo) readSecret(ctx context.Context) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.secret == nil {
		secret, err := e.store.Secret(ctx)
		if err != nil {
			return nil, err
		}
		e.secret = secret
	}
	return e.secret, nil
}

// Failed notes that the mail of a delivery came back, and strikes the destination. The status is the
// enhanced status code in the notification, and reason is a sentence from it. A second notification
// for the same delivery changes nothing.
func (e *Echo) Failed(ctx context.Context, delivery int64, status, reason string) error {
	now := e.now().UTC()
	if delivery >= FirstFailure {
		address, ok := e.failure(delivery)
		if !ok {
			return fmt.Errorf("dispatch: delivery %d: %w", delivery, report.ErrUnknown)
		}
		return e.strike(ctx, address, report.Failure{Status: status, Reason: reason, By: report.ByBounce, Window: int64(report.DayOf(now)) * 86400}, now)
	}
	v, err := e.store.Delivery(ctx, delivery)
	if err != nil {
		return fmt.Errorf("dispatch: delivery %d: %w", delivery, err)
	}
	if v.Bounced {
		return nil
	}
	// The strike comes first: if the second write fails, the MTA brings the notification again, and the
	// strike does not count twice.
	if err := e.strike(ctx, v.Address, report.Failure{Status: status, Reason: reason, By: report.ByBounce, Window: v.Window.Begin}, now); err != nil {
		return err
	}
	v.Word, v.Reply, v.Bounced, v.At = report.Refused, reason, true, now
	if _, err := e.store.SetDelivery(ctx, v); err != nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	return nil
}

func (e *Echo) strike(ctx context.Context, address string, f report.Failure, now time.Time) error {
	target := report.Target(address)
	s, err := e.store.Suppression(ctx, target)
	if err != nil && !errors.Is(err, report.ErrUnknown) {
		return fmt.Errorf("dispatch: %w", err)
	}
	s.Target = target
	if err := e.store.Suppress(ctx, s.Strike(f, now)); err != nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	return nil
}
