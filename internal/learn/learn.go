// Package learn knows what is usual for the author domains whose mail comes in, and finds the learned signs
// of a message that fails DMARC. It never waits: what it does not know yet, it looks up in the background,
// and until then the message has no learned sign.
package learn

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/msgauth"
	"sekimori/internal/trait"
)

const (
	// maxKnown is how many author domains are known that the store has passing mail of. With the most
	// networks each, they take 50 MB; an ordinary one takes 300 octets.
	maxKnown = 20_000
	// maxUnknown is how many are remembered of which the store knows nothing. Who forges mail can make up
	// any number of them, and must not push out those that are known.
	maxUnknown = 20_000
	// maxAsked is how many wait to be looked up. Beyond that, the domain is asked for at its next message.
	maxAsked = 1024
	// maxPreload is how many of the most frequent authors are looked up at the start.
	maxPreload = 2000

	// fresh is how long an answer is used without a new look at the store, and usable how long it is used
	// while the store gives no new one. Both are short beside the 14 days that a sign needs.
	fresh  = time.Hour
	usable = 12 * time.Hour
	// askTimeout is for one look-up, and pause for the time after one that failed.
	askTimeout = 10 * time.Second
	pause      = 5 * time.Second
)

// Options are what a Cache needs.
type Options struct {
	Store ledger.Store
	Now   func() time.Time
	Log   *slog.Logger
}

// Cache is safe for concurrent use.
type Cache struct {
	o       Options
	ask     chan dns.Name
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.RWMutex
	known   map[dns.Name]answer
	unknown map[dns.Name]answer
	asked   map[dns.Name]bool

	Counts Counts
}

// answer is what the store said.
type answer struct {
	usual ledger.Usual
	at    time.Time
}

// Counts counts what the cache did. Every field but Failing only grows.
type Counts struct {
	Hits, Misses         atomic.Int64 // messages whose author domain was known, and those for which there was no answer yet
	Unsigned             atomic.Int64 // messages with each sign
	UnknownNet, KnownNet atomic.Int64
	Failures             atomic.Int64 // look-ups that the store did not answer
}

// New returns a Cache that runs in the background until Close. It begins with the authors that wrote most.
func New(o Options) *Cache {
	ctx, end := context.WithCancel(context.Background())
	c := &Cache{o: o, ask: make(chan dns.Name, maxAsked), end: end,
		known: map[dns.Name]answer{}, unknown: map[dns.Name]answer{}, asked: map[dns.Name]bool{}}
	c.running.Go(func() {
		c.preload(ctx)
		c.run(ctx)
	})
	return c
}

// Close ends the background work. The Cache goes on answering with what it knows.
func (c *Cache) Close() {
	c.end()
	c.running.Wait()
}

// Signs returns the learned signs of a message that failed DMARC. It never waits for the store.
func (c *Cache) Signs(e *msgauth.Evaluation) []trait.Trait {
	author := e.From.AuthorDomain
	if author == "" || e.FromError != nil {
		return nil
	}
	now := c.o.Now()
	c.mu.RLock()
	a, ok := c.known[author]
	if !ok {
		a = c.unknown[author]
	}
	c.mu.RUnlock()
	age := now.Sub(a.at) // an answer that is not there is of the year 1
	if age > fresh || age < 0 {
		c.wish(author)
	}
	if age > usable || age < -usable {
		c.Counts.Misses.Add(1)
		return nil
	}
	c.Counts.Hits.Add(1)
	signs := a.usual.Signs(e)
	for _, s := range signs {
		switch s {
		case trait.UnsignedUnlikeUsual:
			c.Counts.Unsigned.Add(1)
		case trait.UnknownSource:
			c.Counts.UnknownNet.Add(1)
		case trait.KnownSource:
			c.Counts.KnownNet.Add(1)
		}
	}
	return signs
}

// wish asks for a domain, unless that has been done or too many wait.
func (c *Cache) wish(author dns.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked[author] || len(c.asked) >= maxAsked {
		return
	}
	author = dns.Name(strings.Clone(string(author)))
	select {
	case c.ask <- author:
		c.asked[author] = true
	default:
	}
}

// run looks up what was asked for.
func (c *Cache) run(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case author := <-c.ask:
			err := c.look(ctx, author)
			c.mu.Lock()
			delete(c.asked, author)
			c.mu.Unlock()
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				failing = false
				continue
			}
			c.Counts.Failures.Add(1)
			if !failing {
				c.o.Log.Warn("the store does not say what is usual for authors; there are no learned signs of those that are not known yet", "error", err)
				failing = true
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	}
}

// look looks up one author domain.
func (c *Cache) look(ctx context.Context, author dns.Name) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	now := c.o.Now()
	u, err := c.o.Store.Usual(ctx, author, ledger.DayOf(now))
	if err != nil {
		return err
	}
	a := answer{u, now}
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.Days == 0 {
		delete(c.known, author)
		put(c.unknown, author, a, maxUnknown)
	} else {
		delete(c.unknown, author)
		put(c.known, author, a, maxKnown)
	}
	return nil
}

// put stores an answer. If there is no room, any other one goes.
func put(m map[dns.Name]answer, author dns.Name, a answer, most int) {
	if _, ok := m[author]; !ok && len(m) >= most {
		for other := range m {
			delete(m, other)
			break
		}
	}
	m[author] = a
}

// preload looks up the authors that wrote most in the last days. If the store cannot be read, they are
// looked up at their first message.
func (c *Cache) preload(ctx context.Context) {
	today := ledger.DayOf(c.o.Now())
	var authors []dns.Name
	for sum, err := range c.o.Store.Sums(ctx, ledger.Filter{From: today - ledger.UsualDays, To: today}, ledger.ByMessages, maxPreload) {
		if err != nil {
			return
		}
		authors = append(authors, sum.Domain)
	}
	for _, author := range authors {
		if ctx.Err() != nil || c.look(ctx, author) != nil {
			return
		}
	}
}

// Len returns how many author domains are known.
func (c *Cache) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.known)
}
