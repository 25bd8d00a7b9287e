package judge

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/policy"
)

// Recipients tells who agreed that verdicts are acted on. typed is RCPT's
// argument, rewritten the MTA's {rcpt_addr} or "".
type Recipients interface {
	// Known answers where nobody has to be asked, and does not block.
	Known(typed, rewritten string) (c policy.Class, ok bool)
	// Lookup asks; it is bounded in time, heeds ctx and answers Out where it
	// fails.
	Lookup(ctx context.Context, typed, rewritten string) policy.Class
}

// MaxConsentLookups is how many recipients of one message are asked about at a
// time; the others queue.
const MaxConsentLookups = 4

// consents collects the classes of one message's recipients. Lookups run in
// the background from RCPT on, so that end of message finds the answers.
type consents struct {
	ask    Recipients
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	found   policy.Consent
	queue   []recipient
	working int
	began   time.Time     // of the lookups now under way
	idle    chan struct{} // closed when there are none; nil: nobody waits
}

type recipient struct{ typed, rewritten string }

func newConsents(ask Recipients) *consents {
	c := &consents{ask: ask}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// add notes a recipient and starts the lookup where one is needed.
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

// now returns the class of a recipient for an answer at RCPT, and waits for
// it. It counts nothing: the recipient may yet be refused.
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

// work asks until the queue is empty.
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

// wait returns the counts. What is not known after the limit, or when ctx
// ends, counts as opted out.
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
	c.cancel() // the lookups left fail at once, as opted out
	<-c.idle
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found
}
