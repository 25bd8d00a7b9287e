package learn

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/clock"
	"sekimori/internal/dmarc"
	"sekimori/internal/ledger"
)

const (
	// keepTime is how often old data is removed and breakages are looked for, and countTime how often the
	// author domains are counted.
	keepTime  = time.Hour
	countTime = 5 * time.Minute
	// keepTimeout is for each of these.
	keepTimeout = 10 * time.Minute
)

// Keeper looks after the ledger: it removes what is too old or too much, counts author domains, and finds
// senders in trouble. Every daemon of a farm has one. What two of them do at once is done once.
type Keeper struct {
	o          Options
	maxDomains atomic.Int64
	domains    atomic.Pointer[map[dmarc.Policy]float64]
	broken     atomic.Pointer[map[ledger.Kind]int]
	end        context.CancelFunc
	running    sync.WaitGroup
}

// NewKeeper returns a Keeper that runs in the background until Close. maxDomains is ledger.max_domains.
func NewKeeper(o Options, maxDomains int64) *Keeper {
	ctx, end := context.WithCancel(context.Background())
	k := &Keeper{o: o, end: end}
	k.maxDomains.Store(maxDomains)
	k.running.Go(func() { k.run(ctx) })
	return k
}

// Close ends the background work.
func (k *Keeper) Close() {
	k.end()
	k.running.Wait()
}

// SetMaxDomains changes ledger.max_domains.
func (k *Keeper) SetMaxDomains(n int64) { k.maxDomains.Store(n) }

// AuthorDomains returns about how many author domains wrote in the last 30 days, by published policy, or
// nil if the store has not said it yet.
func (k *Keeper) AuthorDomains() map[dmarc.Policy]float64 {
	if m := k.domains.Load(); m != nil {
		return *m
	}
	return nil
}

// Broken returns how many breakages of a kind there are now.
func (k *Keeper) Broken(kind ledger.Kind) int {
	if m := k.broken.Load(); m != nil {
		return (*m)[kind]
	}
	return 0
}

func (k *Keeper) run(ctx context.Context) {
	var kept time.Time
	var watch clock.Watch
	failing := false
	for {
		err := k.count(ctx)
		now := k.o.Now()
		trusted := watch.Even(now) >= clock.Trusted
		if err == nil && (kept.IsZero() || now.Sub(kept) >= keepTime || now.Before(kept)) {
			if err = k.keep(ctx, now, trusted); err == nil {
				kept = now
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			k.o.Log.Warn("the ledger cannot be looked after", "error", err)
		}
		failing = err != nil
		t := time.NewTimer(countTime)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// count asks for the number of author domains.
func (k *Keeper) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	today := ledger.DayOf(k.o.Now())
	m, err := k.o.Store.AuthorDomains(ctx, ledger.Filter{From: today - ledger.UsualDays + 1, To: today})
	if err == nil {
		k.domains.Store(&m)
	}
	return err
}

// keep removes what is old, if the clock can be trusted, and looks for breakages.
func (k *Keeper) keep(ctx context.Context, now time.Time, trusted bool) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	if trusted {
		if err := k.o.Store.Expire(ctx, now, k.maxDomains.Load()); err != nil {
			return err
		}
	}
	return k.search(ctx, now)
}
