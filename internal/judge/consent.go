package judge

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/policy"
)

// Recipients looks up whether a recipient has agreed that the MTA acts on verdicts, for
// example that it refuses a message (see policy.Class). typed is the argument of RCPT.
// rewritten is the MTA's macro {rcpt_addr}, or "".
type Recipients interface {
	// Known returns the class if it is known without a lookup, else ok is false. Known does
	// not block.
	Known(typed, rewritten string) (c policy.Class, ok bool)
	// Lookup asks the directory for the class. It returns after a bounded time, or earlier
	// if ctx ends. If the lookup fails, the class is Out.
	Lookup(ctx context.Context, typed, rewritten string) policy.Class
}

// MaxConsentLookups is how many lookups of one message run at the same time. Further
// lookups wait in a queue.
const MaxConsentLookups = 4

// consents collects the classes of one message's recipients. The lookups start at RCPT and
// run in the background. When the message ends, the answers have usually arrived.
type consents struct {
	ask    Recipients
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	found   policy.Consent
	queue   []recipient
	working int
	began   time.Time     // when the number of running lookups last rose from zero
	idle    chan struct{} // closed by the last lookup when it ends; nil until wait is called
}

type recipient struct{ typed, rewritten string }

func newConsents(ask Recipients) *consents {
	c := &consents{ask: ask}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// add counts a recipient whose class is known, and starts or queues a lookup for any other
// recipient.
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

// now returns the class of a recipient, and waits for the lookup if there is one. It is for
// the reply to RCPT. The caller may still refuse the recipient, so now does not count it.
// For a recipient that is not refused, the caller calls accept.
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

// work runs queued lookups until the queue is empty.
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

// wait waits until all lookups have ended, the limit has passed or ctx ends, and returns
// how many recipients are In and Out. A recipient whose class is not known by then counts
// as Out.
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
	c.cancel() // lookups that still run or are queued now return Out at once
	<-c.idle
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found
}
