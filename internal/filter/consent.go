package filter

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/milter"
	"sekimori/internal/policy"
	"sekimori/internal/smtp"
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

// maxConsentLookups is how many recipients of one message are asked about at a
// time; the others queue.
const maxConsentLookups = 4

// consents collects the classes of one message's recipients. Lookups run in
// the background from RCPT on, so that end of message finds the answers.
type consents struct {
	ask    Recipients
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	found   policy.Consent
	queue   []rcpt
	working int
	began   time.Time     // of the lookups now under way
	idle    chan struct{} // closed when there are none; nil: nobody waits
}

type rcpt struct{ typed, rewritten string }

func newConsents(ask Recipients) *consents {
	c := &consents{ask: ask}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// add notes a recipient and starts the lookup where one is needed.
func (c *consents) add(r rcpt) {
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
	if c.working < maxConsentLookups {
		c.working++
		go c.work()
	}
}

// now returns the class of a recipient for an answer at RCPT, and waits for
// it. It counts nothing: the recipient may yet be refused.
func (c *consents) now(r rcpt) policy.Class {
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

func (c *consents) next() (rcpt, bool) {
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
	return rcpt{}, false
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

// recipient takes a recipient's consent into account and says whether the
// message may have it: with Options.Split all of a message are of the class of
// the first, and a client sends the others apart (RFC 5321 §4.5.3.1.10).
func (s *session) recipient(t *transaction, typed string) milter.Reply {
	if t.consents == nil {
		return milter.Continue
	}
	r := rcpt{typed, s.conn.Macro("{rcpt_addr}")}
	// A connection from before a reload may have agreed to wait for no reply.
	if !s.o.split() || !s.conn.RepliesToRcpt() {
		t.consents.add(r)
		return milter.Continue
	}
	class := t.consents.now(r)
	if t.class == "" {
		t.class = class
	}
	if class != t.class {
		return milter.Custom(smtp.CodeNoRoom, smtp.EnhancedRecipients, "Recipient wants other filtering than those before, send this one apart")
	}
	t.consents.accept(class)
	return milter.Continue
}
