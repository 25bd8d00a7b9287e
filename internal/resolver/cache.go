package resolver

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"sekimori/internal/dns"
)

const (
	// maxQueryTime bounds one query. Those who wait for its answer may leave
	// earlier.
	maxQueryTime = 10 * time.Second
	// staleAfter is how long a lookup waits for a new answer before it returns a
	// stale one (RFC 8767 §5, the client response timer).
	staleAfter = 1800 * time.Millisecond
	// staleTTL is the TTL of a stale answer (RFC 8767 §4).
	staleTTL = 30 * time.Second
)

var (
	errPanic  = errors.New("resolver: panic during a lookup")
	errClosed = errors.New("resolver: closed")
)

// CacheConfig configures a Cache. A duration of 0 means 0, not a default.
type CacheConfig struct {
	Size        int64         // octets; with 0 nothing is kept, but equal questions at one time are still asked once
	MaxTTL      time.Duration // upper bound of every TTL
	MinTTL      time.Duration // lower bound of every TTL; MaxTTL and NegativeTTL go before it
	NegativeTTL time.Duration // upper bound for NXDOMAIN and NODATA (RFC 2308 §5)
	FailureTTL  time.Duration // how long a failure is not asked about again (RFC 9520 §3.2)
	Stale       time.Duration // how long past its TTL an answer may stand in for a failure (RFC 8767)
	// Metrics counts; nil counts nothing.
	Metrics *Metrics
	// OnPanic is called after a panic below the cache, in the goroutine that
	// panicked; the lookup fails as malformed. May be nil.
	OnPanic func(recovered any)
}

// Cache is a Resolver that keeps the answers and failures of another. Equal questions
// that are under way at the same time are asked once. Close ends it.
type Cache struct {
	next  dns.Resolver
	cfg   CacheConfig
	store *otter.Cache[key, *entry] // nil: nothing is kept
	large *otter.Cache[key, *entry] // for large answers
	start time.Time                 // all times of the cache count from here, on the monotonic clock
	clock *storeClock               // of store and large

	base context.Context // of the queries, which outlive the lookups that began them
	stop context.CancelFunc
	work sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	flights    map[key]*flight
	prefetches int // how many of the flights are prefetches
	orphans    orphans
}

// flight is one query under way. answer and err are set before done is closed.
type flight struct {
	done   chan struct{}
	stale  *entry // returned if the query fails; may be nil
	answer dns.Answer
	err    error

	prefetch bool // it began to renew an entry, not for a lookup
	// The lock of the cache guards the fields below.
	waiters int
	giveUp  context.CancelFunc
	orphan  *list.Element // its place among the orphans; nil if a lookup waits for it
}

// NewCache returns a Cache in front of next.
func NewCache(next dns.Resolver, cfg CacheConfig) (*Cache, error) {
	c := &Cache{next: next, cfg: cfg, start: time.Now(), clock: new(storeClock), flights: map[key]*flight{}}
	if cfg.Size > 0 {
		var err error
		if c.store, err = c.newStore(cfg.Size - cfg.Size/largePart); err != nil {
			return nil, err
		}
		if c.large, err = c.newStore(max(cfg.Size/largePart, 1)); err != nil {
			return nil, err
		}
	}
	c.base, c.stop = context.WithCancel(context.Background())
	cfg.Metrics.watch(c)
	return c, nil
}

// newStore returns a store for entries of size octets in total.
func (c *Cache) newStore(size int64) (*otter.Cache[key, *entry], error) {
	store, err := otter.New(&otter.Options[key, *entry]{
		MaximumWeight: uint64(size),
		Weigher:       func(k key, e *entry) uint32 { return e.weight(k) },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[key, *entry]) time.Duration {
			return e.Value.gone - time.Duration(c.clock.NowNano())
		}),
		Clock: c.clock,
		OnAtomicDeletion: func(e otter.DeletionEvent[key, *entry]) {
			if e.Cause == otter.CauseOverflow {
				c.cfg.Metrics.evicted(e.Value.kind())
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("resolver: %w", err)
	}
	return store, nil
}

// storeClock is the clock of the stores. It counts monotonic time, because a step
// of the wall clock must not end every TTL. It advances only on writes: eviction
// needs no finer clock, and a reader, who compares the entry's own times, then asks
// for the time only once. It has no ticks, so that the store starts no goroutine.
type storeClock struct{ now atomic.Int64 }

func (t *storeClock) NowNano() int64 { return t.now.Load() }

// advance sets the clock, never back.
func (t *storeClock) advance(now time.Duration) {
	for old := t.now.Load(); int64(now) > old && !t.now.CompareAndSwap(old, int64(now)); {
		old = t.now.Load()
	}
}

func (*storeClock) Tick(time.Duration) <-chan time.Time { return nil }

func (c *Cache) now() time.Duration { return time.Since(c.start) }

// Lookup implements [dns.Resolver]. A query that it began goes on after it returned, so
// that the next lookup finds the answer, unless too many such queries are under way.
func (c *Cache) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	k := key{name, typ}
	e := c.load(k)
	if now := c.now(); e.usable(now) {
		return c.serve(k, e, now)
	}
	if ctx.Err() != nil {
		return dns.Answer{}, dns.OutOfTime(c, ctx.Err(), name, typ)
	}
	f, e := c.join(k)
	if f == nil {
		return c.serve(k, e, c.now())
	}
	return c.wait(ctx, k, f)
}

// Peek implements [dns.Resolver]: an answer within its TTL is at hand and counts
// as a hit. Failures and stale answers are left to Lookup.
func (c *Cache) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	k := key{name, typ}
	e, now := c.load(k), c.now()
	if e == nil || e.err != nil || now >= e.expires {
		return dns.Answer{}, false
	}
	a, err := c.serve(k, e, now)
	return a, err == nil
}

// Expect implements [dns.Resolver]. The cache does not ask ahead: only a message
// knows how many questions it may still ask.
func (c *Cache) Expect(context.Context, dns.Name, dns.Type) bool { return false }

// Queued implements [dns.Resolver].
func (c *Cache) Queued() bool { return c.next.Queued() }

func (c *Cache) load(k key) *entry {
	if c.store == nil {
		return nil
	}
	e, ok := c.store.GetIfPresent(k)
	if !ok {
		e, _ = c.large.GetIfPresent(k)
	}
	return e
}

// keep stores e in the store for its size, in place of the entry before it.
func (c *Cache) keep(k key, e *entry, now time.Duration) {
	c.clock.advance(now)
	to, other := c.store, c.large
	if e.large {
		to, other = other, to
	}
	to.Set(k, e)
	other.Invalidate(k)
}

// serve answers from an entry that is usable now.
func (c *Cache) serve(k key, e *entry, now time.Duration) (dns.Answer, error) {
	if e.err != nil {
		c.cfg.Metrics.hit(kindFailure)
		return dns.Answer{}, e.err
	}
	if now >= e.expires {
		return c.serveStale(e)
	}
	if e.read() && now >= e.ageing {
		c.prefetch(k, e)
	}
	c.cfg.Metrics.hit(e.kind())
	a := e.answer
	a.TTL, a.Cached = e.expires-now, true
	return a, nil
}

func (c *Cache) serveStale(e *entry) (dns.Answer, error) {
	c.cfg.Metrics.servedStale(e.kind())
	a := e.answer
	a.TTL, a.Cached, a.Stale = staleTTL, true, true
	return a, nil
}

// join returns the flight for k, and starts it if there is none. It returns an entry
// instead if one has become usable in the meantime.
func (c *Cache) join(k key) (*flight, *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[k]; f != nil {
		c.cfg.Metrics.joined()
		c.addWaiter(f)
		return f, nil
	}
	e, now := c.load(k), c.now()
	if e.usable(now) {
		return nil, e
	}
	f := &flight{done: make(chan struct{}), waiters: 1}
	if c.closed {
		f.err = &dns.Error{Kind: dns.KindCanceled, Name: k.name, Type: k.typ, Err: errClosed}
		close(f.done)
		return f, nil
	}
	if e.standsIn(now) && e.err == nil {
		f.stale = e
	}
	c.launch(k, f)
	return f, nil
}

// launch starts f. The caller holds mu.
func (c *Cache) launch(k key, f *flight) {
	c.flights[k] = f
	var ctx context.Context
	ctx, f.giveUp = context.WithTimeout(c.base, maxQueryTime)
	c.work.Go(func() { c.run(ctx, k, f) })
}

// wait waits for f until ctx ends. If a stale answer is at hand, it waits no longer
// than staleAfter.
func (c *Cache) wait(ctx context.Context, k key, f *flight) (dns.Answer, error) {
	defer c.removeWaiter(k, f)
	var staleTimer <-chan time.Time
	if f.stale != nil {
		t := time.NewTimer(staleAfter)
		defer t.Stop()
		staleTimer = t.C
	}
	for {
		select {
		case <-f.done:
			if f.err != nil && !dns.Permanent(f.err) && f.stale.standsIn(c.now()) {
				return c.serveStale(f.stale)
			}
			return f.answer, f.err
		case <-staleTimer:
			if f.stale.standsIn(c.now()) {
				return c.serveStale(f.stale)
			}
			staleTimer = nil
		case <-ctx.Done():
			failed := dns.OutOfTime(c, ctx.Err(), k.name, k.typ)
			if failed.Kind == dns.KindTimeout && f.stale.standsIn(c.now()) {
				return c.serveStale(f.stale)
			}
			return dns.Answer{}, failed
		}
	}
}

// run asks the question, stores the outcome and wakes the lookups that wait for it.
func (c *Cache) run(ctx context.Context, k key, f *flight) {
	defer f.giveUp()
	answer, err := c.ask(ctx, k)
	now := c.now()
	e := c.newEntry(answer, err, f.stale, now)
	givenUp := err != nil && errors.Is(ctx.Err(), context.Canceled) // such a failure says nothing about the name
	if c.store != nil && !givenUp {
		if err == nil {
			answer.TTL = e.expires - now // every waiting lookup sees the TTL that the cache keeps
		}
		if e.keepable(now) && (err == nil || dns.Permanent(err) || !c.answered(k, f, now)) {
			c.keep(k, e, now)
		}
	}
	f.answer, f.err = answer, err
	switch {
	case f.prefetch, givenUp:
	case err != nil:
		c.cfg.Metrics.miss(kindFailure)
	default:
		c.cfg.Metrics.miss(e.kind())
	}
	c.mu.Lock()
	c.forget(k, f)
	c.mu.Unlock()
	close(f.done)
}

// answered reports whether another Cache over the same store (see with) stored an
// answer since f began. A failure of f must not replace that answer.
func (c *Cache) answered(k key, f *flight, now time.Duration) bool {
	e := c.load(k)
	return e != nil && e != f.stale && e.err == nil && now < e.expires
}

// ask calls next.Lookup and turns a panic into a failure. Queries run in goroutines of
// the cache, where a panic would end the process.
func (c *Cache) ask(ctx context.Context, k key) (a dns.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			if c.cfg.OnPanic != nil {
				c.cfg.OnPanic(p)
			}
			err = &dns.Error{Kind: dns.KindMalformed, Name: k.name, Type: k.typ, Err: fmt.Errorf("%w: %v", errPanic, p)}
		}
	}()
	return c.next.Lookup(ctx, k.name, k.typ)
}

// Purge empties the cache.
func (c *Cache) Purge() {
	if c.store != nil {
		c.store.InvalidateAll()
		c.large.InvalidateAll()
	}
}

// Close ends the queries under way and waits for them. Kept answers are still served.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.work.Wait()
}

func (c *Cache) entries() float64 {
	if c.store == nil {
		return 0
	}
	return float64(c.store.EstimatedSize() + c.large.EstimatedSize())
}

func (c *Cache) bytes() float64 {
	if c.store == nil {
		return 0
	}
	return float64(c.store.WeightedSize() + c.large.WeightedSize())
}
