package judge

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/policy"
)

// Recipients says which recipients agreed that verdicts are acted on. typed is the
// argument of RCPT. rewritten is the MTA's macro {rcpt_addr}, or "".
type Recipients interface {
	// Known returns the class where no lookup is needed, else false. It does not
	// block.
	Known(typed, rewritten string) (c policy.Class, ok bool)
	// Lookup asks for the class. It takes a bounded time, ends with ctx, and returns
	// Out where it fails.
	Lookup(ctx context.Context, typed, rewritten string) policy.Class
}

// MaxConsentLookups is how many lookups of one message run at a time. The others
// queue.
const MaxConsentLookups = 4

// consents collects the classes of one message's recipients. Lookups start at RCPT
// and run in the background, so that the answers are usually there at the end of the
// message.
type consents struct {
	ask    Recipients
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	found   policy.Consent
	queue   []recipient
	working int
	began   time.Time     // when the first of the running lookups began
	idle    chan struct{} // closed when no lookup runs; nil until wait is called
}

type recipient struct{ typed, rewritten string }

func newConsents(ask Recipients) *consents {
	c := &consents{ask: ask}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// add counts a recipient whose class is known, and starts a lookup for any other.
func (c *consents) add(r recipient) {
	class, ok := c.ask.Known(r.typed, r.rewritten)
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.count(class)
		return
	}
	c.queue = append(c.queue, r)
	if c.working == 0 {
		c.began = time.Now()
	}
	if c.working < MaxConsentLookups {
		c.working++
		go c.work()
	}
}

// now waits for the class of a recipient, for an answer at RCPT. The recipient may
// still be refused, so now does not count it; the caller calls accept.
func (c *consents) now(r recipient) policy.Class {
	class, ok := c.ask.Known(r.typed, r.rewritten)
	if ok {
		return class
	}
	begin := time.Now()
	class = c.ask.Lookup(c.ctx, r.typed, r.rewritten)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found.Elapsed += time.Since(begin)
	return class
}

func (c *consents) accept(class policy.Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(class)
}

func (c *consents) count(class policy.Class) {
	if class == policy.In {
		c.found.In++
	} else {
		c.found.Out++
	}
}

// work runs lookups until the queue is empty.
func (c *consents) work() {
	for {
		r, ok := c.next()
		if !ok {
			return
		}
		class := c.ask.Lookup(c.ctx, r.typed, r.rewritten)
		c.accept(class)
	}
}

func (c *consents) next() (recipient, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 {
		r := c.queue[0]
		c.queue = c.queue[1:]
		return r, true
	}
	if c.working--; c.working == 0 {
		c.found.Elapsed += time.Since(c.began)
		if c.idle != nil {
			close(c.idle)
		}
	}
	return recipient{}, false
}

// wait returns the counts. A recipient whose class is not known after the limit, or
// when ctx ends, counts as opted out.
func (c *consents) wait(ctx context.Context, limit time.Duration) policy.Consent {
	defer c.cancel()
	c.mu.Lock()
	if c.working == 0 {
		defer c.mu.Unlock()
		return c.found
	}
	c.idle = make(chan struct{})
	c.mu.Unlock()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-c.idle:
	case <-late.C:
	case <-ctx.Done():
	}
	c.cancel() // the remaining lookups return Out at once
	<-c.idle
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found
}
