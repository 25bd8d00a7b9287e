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
	// maxQueryTime bounds one query. A lookup that waits for the query may end earlier.
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
	Size        int64         // octets; with 0 nothing is stored, but lookups of one question at the same time still share a query
	MaxTTL      time.Duration // upper bound of the TTL of every answer
	MinTTL      time.Duration // lower bound of the TTL, unless MaxTTL or NegativeTTL is smaller
	NegativeTTL time.Duration // upper bound of the TTL of NXDOMAIN and NODATA (RFC 2308 §5)
	FailureTTL  time.Duration // how long a failure is stored; in this time its question is not asked again (RFC 9520 §3.2)
	Stale       time.Duration // how long after its TTL an answer may be returned instead of a failure (RFC 8767)
	// Metrics counts the lookups and queries. With nil, nothing is counted.
	Metrics *Metrics
	// OnPanic is called after a panic of the resolver behind the cache, in the goroutine that
	// panicked. The lookup then fails with KindMalformed. May be nil.
	OnPanic func(recovered any)
}

// Cache is a Resolver that stores the answers and failures of another Resolver. Lookups of the same
// question at the same time share one query. Close ends the queries.
type Cache struct {
	next  dns.Resolver
	cfg   CacheConfig
	store *otter.Cache[key, *entry] // nil if nothing is stored
	large *otter.Cache[key, *entry] // for large answers
	start time.Time                 // times of the cache are durations since start, on the monotonic clock
	clock *storeClock               // the clock of store and large
	epoch *epoch                    // of store and large

	base context.Context // context of the queries, which may go on after the lookups that started them
	stop context.CancelFunc
	work sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	flights    map[key]*flight
	prefetches int // number of flights that are prefetches
	orphans    orphans
}

// flight is one query, for which any number of lookups may wait. answer and err are set before done
// is closed.
type flight struct {
	done   chan struct{}
	known  *entry // what the cache had when the query began, or nil; it may stand in for a failure
	answer dns.Answer
	err    error

	prefetch bool // it was started to renew an entry before its TTL ends, not by a waiting lookup
	epoch    int  // when it was started
	// The lock of the cache guards the fields below.
	waiters int
	giveUp  context.CancelFunc
	orphan  *list.Element // its element in Cache.orphans; nil if it is not an orphan
}

// NewCache returns a Cache in front of next.
func NewCache(next dns.Resolver, cfg CacheConfig) (*Cache, error) {
	c := &Cache{next: next, cfg: cfg, start: time.Now(), clock: new(storeClock), epoch: new(epoch), flights: map[key]*flight{}}
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
		// The store keeps its books in the caller. By default it starts a goroutine for them, which wakes a
		// thread: that costs a cold message 7 to 11 % more CPU time.
		Executor: func(maintain func()) { maintain() },
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

// storeClock is the clock of the stores. It counts monotonic time, because a step of the wall clock
// must not end every TTL. It advances only when an entry is stored. This is enough for eviction: a
// read compares the times in the entry itself. Reads would be slower if the store asked for the
// time as well. Its Tick returns nil, so the store starts no goroutine.
type storeClock struct{ now atomic.Int64 }

func (t *storeClock) NowNano() int64 { return t.now.Load() }

// advance moves the clock forward to now. It never moves the clock back. The caller holds epoch.mu.
func (t *storeClock) advance(now time.Duration) { t.now.Store(max(t.now.Load(), int64(now))) }

func (*storeClock) Tick(time.Duration) <-chan time.Time { return nil }

func (c *Cache) now() time.Duration { return time.Since(c.start) }

// Lookup implements [dns.Resolver]. If ctx ends first, the query goes on, and the next lookup finds
// its answer. If too many such queries go on, the oldest of these queries is given up (see
// maxOrphans).
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

// Peek implements [dns.Resolver]. It returns a stored answer that is within its TTL, and counts it
// as a hit. Only Lookup returns failures and stale answers.
func (c *Cache) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	k := key{name, typ}
	e, now := c.load(k), c.now()
	if e == nil || e.err != nil || now >= e.expires {
		return dns.Answer{}, false
	}
	a, err := c.serve(k, e, now)
	return a, err == nil
}

// Expect implements [dns.Resolver]. The cache does not look ahead, because it does not know how
// many questions a message may still ask.
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

// keep stores e, the outcome of f, in c.store or c.large, depending on its size, and removes the
// previous entry for k. It does nothing if the cache was purged since f began.
func (c *Cache) keep(k key, f *flight, e *entry, now time.Duration) {
	c.epoch.mu.Lock()
	defer c.epoch.mu.Unlock()
	if f.epoch != c.epoch.purges {
		return
	}
	c.clock.advance(now)
	to, other := c.store, c.large
	if e.large {
		to, other = other, to
	}
	to.Set(k, e)
	other.Invalidate(k)
}

// serve returns the answer or failure of an entry that is usable now.
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

// join returns the flight for k, and starts it if there is none. If an entry has become usable in
// the meantime, it returns that entry instead.
func (c *Cache) join(k key) (*flight, *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[k]; f != nil && f.epoch == c.epoch.now() {
		c.cfg.Metrics.joined()
		c.addWaiter(f)
		return f, nil
	} else if f != nil {
		c.abandon(k, f)
	}
	e, now := c.load(k), c.now()
	if e.usable(now) {
		return nil, e
	}
	f := &flight{done: make(chan struct{}), waiters: 1, giveUp: func() {}}
	if c.closed {
		f.err = &dns.Error{Kind: dns.KindCanceled, Name: k.name, Type: k.typ, Err: errClosed}
		close(f.done)
		return f, nil
	}
	f.known = e
	c.launch(k, f)
	return f, nil
}

// launch starts f. The caller holds mu.
func (c *Cache) launch(k key, f *flight) {
	c.flights[k] = f
	f.epoch = c.epoch.now()
	var ctx context.Context
	ctx, f.giveUp = context.WithTimeout(c.base, maxQueryTime)
	c.work.Go(func() { c.run(ctx, k, f) })
}

// wait waits for f until ctx ends. If there is a stale answer, it waits no longer than staleAfter
// and then returns the stale answer.
func (c *Cache) wait(ctx context.Context, k key, f *flight) (dns.Answer, error) {
	defer c.removeWaiter(k, f)
	var staleTimer <-chan time.Time
	if f.known.standsIn(c.now()) {
		t := time.NewTimer(staleAfter)
		defer t.Stop()
		staleTimer = t.C
	}
	for {
		select {
		case <-f.done:
			if f.err != nil && !dns.Permanent(f.err) && f.known.standsIn(c.now()) {
				return c.serveStale(f.known)
			}
			return f.answer, f.err
		case <-staleTimer:
			if f.known.standsIn(c.now()) {
				return c.serveStale(f.known)
			}
		case <-ctx.Done():
			failed := dns.OutOfTime(c, ctx.Err(), k.name, k.typ)
			if failed.Kind == dns.KindTimeout && f.known.standsIn(c.now()) {
				return c.serveStale(f.known)
			}
			return dns.Answer{}, failed
		}
	}
}

// run asks the question, stores the outcome, and wakes the lookups that wait for it.
func (c *Cache) run(ctx context.Context, k key, f *flight) {
	defer f.giveUp()
	answer, err := c.ask(ctx, k)
	now := c.now()
	e := c.newEntry(answer, err, f.known, now)
	givenUp := err != nil && errors.Is(ctx.Err(), context.Canceled) // such a failure says nothing about the name
	if c.store != nil && !givenUp {
		if err == nil {
			answer.TTL = e.expires - now // waiting lookups get the TTL with which the cache stores the answer
		}
		if e.keepable(now) && (err == nil || !c.answered(k, f)) {
			c.keep(k, f, e, now)
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

// answered reports whether another Cache that shares the stores (see with) has stored an answer
// since f began. A failure of f must not replace that answer, even if its TTL is over.
func (c *Cache) answered(k key, f *flight) bool {
	e := c.load(k)
	return e != nil && e != f.known && e.err == nil
}

// ask calls next.Lookup and turns a panic into a failure. Queries run in goroutines of the cache,
// where a panic would end the process.
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

// Close ends the running queries and waits for them. Stored answers are still returned afterwards.
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
