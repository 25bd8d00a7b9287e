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
	// staleAfter is how long a lookup waits for news while an answer past its
	// TTL is at hand (RFC 8767 §5, the client response timer).
	staleAfter = 1800 * time.Millisecond
	// staleTTL is the TTL of such an answer (RFC 8767 §4).
	staleTTL = 30 * time.Second
)

var (
	errPanic  = errors.New("resolver: panic during a lookup")
	errClosed = errors.New("resolver: closed")
)

// CacheConfig configures a Cache. Durations mean what they say: 0 is none.
type CacheConfig struct {
	Size        int64         // octets; 0 keeps nothing, but still asks only once at a time
	MaxTTL      time.Duration // upper bound of every TTL
	MinTTL      time.Duration // lower bound of every TTL, up to the upper one
	NegativeTTL time.Duration // upper bound for NXDOMAIN and NODATA (RFC 2308 §5)
	FailureTTL  time.Duration // how long a failure is not asked about again (RFC 9520 §3.2)
	Stale       time.Duration // how long past its TTL an answer may stand in for a failure (RFC 8767)
	// Metrics counts; nil counts nothing.
	Metrics *Metrics
	// OnPanic is told of a panic below the cache, on the goroutine it happened
	// on; the lookup fails as malformed. May be nil.
	OnPanic func(recovered any)
}

// Cache is a Resolver that remembers what another said: answers, "no"s and
// failures. Equal questions under way at the same time are one. Close ends it.
type Cache struct {
	next  dns.Resolver
	cfg   CacheConfig
	store *otter.Cache[key, *entry] // nil: nothing is kept
	large *otter.Cache[key, *entry] // of large answers
	start time.Time                 // of the monotonic clock every time is on
	clock *storeClock               // of store and large

	base context.Context // of the queries: they outlive those who asked
	stop context.CancelFunc
	work sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	flights    map[key]*flight
	prefetches int // among them
	orphans    orphans
}

// flight is one query under way. Its answer and err are set before done is
// closed.
type flight struct {
	done   chan struct{}
	stale  *entry // what stands in for a failure, may be nil
	answer dns.Answer
	err    error

	prefetch bool // nobody needed it when it began
	// The cache's lock is for the rest.
	waiters int
	giveUp  context.CancelFunc
	orphan  *list.Element // nobody waits for it any more; nil: somebody does
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

// newStore returns a store for so many octets.
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

// Lookup implements [dns.Resolver]. It returns by the context's deadline; the
// query it started goes on for the next to ask, as long as it is among the last
// that were left.
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

// keep puts e where its size belongs, in the place of what was kept before.
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

// join returns the flight for k, starting it if there is none. It returns an
// entry instead if one has become usable meanwhile.
func (c *Cache) join(k key) (*flight, *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[k]; f != nil {
		c.cfg.Metrics.joined()
		c.adopt(f)
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
	c.work.Go(func() { c.fly(ctx, k, f) })
}

// wait waits for f as long as the caller may, and no longer than is sensible
// while there is an answer past its TTL.
func (c *Cache) wait(ctx context.Context, k key, f *flight) (dns.Answer, error) {
	defer c.leave(k, f)
	var patience <-chan time.Time
	if f.stale != nil {
		t := time.NewTimer(staleAfter)
		defer t.Stop()
		patience = t.C
	}
	for {
		select {
		case <-f.done:
			if f.err != nil && !dns.Permanent(f.err) && f.stale.standsIn(c.now()) {
				return c.serveStale(f.stale)
			}
			return f.answer, f.err
		case <-patience:
			if f.stale.standsIn(c.now()) {
				return c.serveStale(f.stale)
			}
			patience = nil
		case <-ctx.Done():
			failed := dns.OutOfTime(c, ctx.Err(), k.name, k.typ)
			if failed.Kind == dns.KindTimeout && f.stale.standsIn(c.now()) {
				return c.serveStale(f.stale)
			}
			return dns.Answer{}, failed
		}
	}
}

// fly asks, keeps what was said and wakes those who wait.
func (c *Cache) fly(ctx context.Context, k key, f *flight) {
	defer f.giveUp()
	answer, err := c.ask(ctx, k)
	now := c.now()
	e := c.newEntry(answer, err, f.stale, now)
	givenUp := err != nil && errors.Is(ctx.Err(), context.Canceled) // says nothing
	if c.store != nil && !givenUp {
		if err == nil {
			answer.TTL = e.expires - now // all see the TTL the cache keeps
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
	c.land(k, f)
	c.mu.Unlock()
	close(f.done)
}

// answered reports whether another Cache over the same store (see with) had an
// answer since f began, which a failure of f's must not displace.
func (c *Cache) answered(k key, f *flight, now time.Duration) bool {
	e := c.load(k)
	return e != nil && e != f.stale && e.err == nil && now < e.expires
}

// ask is next.Lookup whose panics are failures: nothing else would stand
// between a goroutine of ours and the end of the process.
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

// Purge forgets everything.
func (c *Cache) Purge() {
	if c.store != nil {
		c.store.InvalidateAll()
		c.large.InvalidateAll()
	}
}

// Close ends the queries under way and waits for them; what is kept is still
// served.
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
