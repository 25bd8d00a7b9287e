// Package load plays an MTA under load: it sends a corpus of mail through
// milters as Postfix does, and measures what that costs them. Command
// milterload makes it a program.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sekimori/internal/bench/traffic"
)

// Check says what of an outcome is held against what was expected.
type Check string

// The checks.
const (
	// CheckAll: results and actions, for sekimori's default configuration.
	CheckAll Check = "all"
	// CheckResults: DKIM, SPF and DMARC results, for any verifier.
	CheckResults Check = "results"
	// CheckSafe: under faults a result may be missing, but nothing that should
	// fail DMARC passes and nothing that should be delivered is refused for good.
	CheckSafe Check = "safe"
	CheckNone Check = "none"
)

// Options are one run.
type Options struct {
	// Milters are asked one after another, as in Postfix's smtpd_milters; each
	// sees the header as the one before left it.
	Milters     []Target
	Connections int
	// Messages to send, 0 for one pass through the corpus; it goes round as
	// often as needed.
	Messages int
	// Duration ends the run early; 0 does not.
	Duration time.Duration
	// Warmup is the number of messages sent before anything is measured, for
	// no longer than three times Duration.
	Warmup  int
	Timeout time.Duration // of one read or write
	// RoundTrip is how far away the SMTP client is: it passes after CONNECT,
	// HELO, MAIL, RCPT and DATA, as it would between a client's commands. At 0
	// a message comes in one burst and nothing can be looked up beforehand.
	RoundTrip time.Duration
	Check     Check
	// PIDs are the servers' processes; their descendants count too.
	PIDs []int
	// Queries counts DNS questions so far; may be nil.
	Queries func() int64
}

const maxConnections = 10_000

// Validate says what is wrong with the options, or nil.
func (o Options) Validate() error {
	switch {
	case len(o.Milters) == 0:
		return errors.New("load: no milter to send to")
	case o.Connections < 1 || o.Connections > maxConnections:
		return fmt.Errorf("load: %d connections; 1 to %d", o.Connections, maxConnections)
	case o.Messages < 0, o.Warmup < 0, o.Duration < 0, o.RoundTrip < 0:
		return errors.New("load: messages, warm-up, duration and round trip cannot be negative")
	}
	if !slices.Contains([]Check{CheckAll, CheckResults, CheckSafe, CheckNone}, o.Check) {
		return fmt.Errorf("load: %q is none of %s, %s, %s, %s", o.Check, CheckAll, CheckResults, CheckSafe, CheckNone)
	}
	return nil
}

// Run sends the corpus and reports. The error is about the run itself; what
// the milters did wrong is in the Summary.
func Run(ctx context.Context, c *traffic.Corpus, o Options) (*Summary, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &runner{corpus: c, o: o}
	if o.Warmup > 0 {
		warm := r.phase(ctx, int64(o.Warmup), 3*o.Duration)
		if warm.messages == 0 && warm.err != nil {
			return nil, warm.err
		}
	}
	limit := int64(o.Messages)
	if limit == 0 {
		limit = int64(c.Messages())
		if o.Duration > 0 {
			limit = math.MaxInt64
		}
	}
	before, err := sampleProcesses(o.PIDs)
	if err != nil {
		return nil, err
	}
	queries := r.queries()
	start := time.Now()
	t := r.phase(ctx, limit, o.Duration)
	took := time.Since(start)
	after, err := sampleProcesses(o.PIDs)
	if err != nil {
		return nil, fmt.Errorf("%w (did a server end?)", err)
	}
	if t.messages == 0 && t.err != nil {
		return nil, t.err
	}
	return newSummary(t, took, before, after, r.queries()-queries, o), nil
}

// runner goes through the corpus; phases continue where the last one ended.
type runner struct {
	corpus *traffic.Corpus
	o      Options
	next   atomic.Int64 // session
}

func (r *runner) queries() int64 {
	if r.o.Queries == nil {
		return 0
	}
	return r.o.Queries()
}

// phase sends until limit messages have been begun or the time is over.
func (r *runner) phase(ctx context.Context, limit int64, duration time.Duration) *tally {
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	var begun atomic.Int64
	take := func() bool { return ctx.Err() == nil && begun.Add(1) <= limit }
	tallies := make([]*tally, r.o.Connections)
	var work sync.WaitGroup
	for i := range tallies {
		tallies[i] = newTally()
		work.Go(func() { r.worker(take, tallies[i]) })
	}
	work.Wait()
	sum := tallies[0]
	for _, t := range tallies[1:] {
		sum.merge(t)
	}
	return sum
}

// maxFailures ends a connection's part of a run: a server that is gone must
// not be hammered.
const maxFailures = 20

// worker is one connection after another. take reserves a message.
func (r *runner) worker(take func() bool, t *tally) {
	for t.errors < maxFailures && take() {
		sessions := r.corpus.Sessions
		s := sessions[int((r.next.Add(1)-1)%int64(len(sessions)))]
		start := time.Now()
		if err := r.session(s, take, t); err != nil {
			t.errors++
			t.err = err
			continue
		}
		t.session.add(time.Since(start))
	}
}

// session sends a session's messages, the first of which is already taken.
func (r *runner) session(s traffic.Session, take func() bool, t *tally) (err error) {
	c, err := dial(r.o.Milters, r.o.Timeout, r.o.RoundTrip)
	if err != nil {
		return err
	}
	defer func() {
		if e := c.quit(); err == nil {
			err = e
		}
	}()
	if err := c.begin(s); err != nil {
		return err
	}
	for i := range s.Messages {
		if i > 0 && !take() {
			return nil
		}
		m := &s.Messages[i]
		start := time.Now()
		got, wait, err := c.send(m)
		if err != nil {
			return err
		}
		t.messages++
		t.eom.add(wait)
		t.message.add(time.Since(start))
		t.count(m.Want, got, r.o.Check)
	}
	return nil
}
