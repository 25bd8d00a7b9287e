// Package load plays an MTA under load. It sends a corpus of mail through milters, as Postfix does,
// and measures the time and the resources that the milters use. The command milterload is built on
// it.
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

// Check says which parts of an outcome must be as expected.
type Check string

// The possible checks.
const (
	// CheckAll compares the results and the action. The expected actions are those of sekimori's
	// default configuration.
	CheckAll Check = "all"
	// CheckResults compares only the results of DKIM, SPF and DMARC. These are the same for every
	// correct verifier.
	CheckResults Check = "results"
	// CheckSafe is for a run with DNS faults, in which some results may be missing. A message that
	// should fail must not pass, and a message that should be delivered must not be rejected.
	CheckSafe Check = "safe"
	// CheckNone accepts every outcome.
	CheckNone Check = "none"
)

// Options are the parameters of one run.
type Options struct {
	// Milters are asked one after another, as with Postfix's smtpd_milters. Each milter gets the
	// header with the edits of the milters before it.
	Milters     []Target
	Connections int
	// Messages is the number of messages to send. If the corpus has fewer messages, it is repeated.
	// If Messages is 0, the corpus is sent once, or repeatedly until Duration is over if Duration
	// is not 0.
	Messages int
	// Duration is the time after which the run ends even if not all messages have been sent. 0
	// means no limit.
	Duration time.Duration
	// Warmup is the number of messages that are sent before the measurement begins. If Duration is
	// not 0, the warm-up ends after three times Duration at the latest.
	Warmup  int
	Timeout time.Duration // for one read or write
	// RoundTrip is the time between two commands of the SMTP client. The run waits this long after
	// CONNECT, HELO, MAIL, RCPT and DATA. If it is 0, the commands follow each other at once, and
	// the milter has no time to look up DNS names in advance.
	RoundTrip time.Duration
	Check     Check
	// PIDs are the server processes whose resources are measured, together with all their
	// descendants.
	PIDs []int
	// Queries returns the number of questions that the name server has received so far. It may be
	// nil.
	Queries func() int64
}

const maxConnections = 10_000

// Validate returns an error if the options are invalid.
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

// Run sends the corpus and returns the measurements. An error means that the run itself failed.
// Wrong answers of the milters are not errors; the Summary counts them.
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

// runner sends the corpus. The warm-up and the measurement are two phases; the measurement
// continues with the session after the last session of the warm-up.
type runner struct {
	corpus *traffic.Corpus
	o      Options
	next   atomic.Int64 // number of sessions that have been started
}

func (r *runner) queries() int64 {
	if r.o.Queries == nil {
		return 0
	}
	return r.o.Queries()
}

// phase sends messages until limit messages have been started or duration is over. It returns what
// its connections counted and measured together.
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

// maxFailures is the number of failed sessions after which a worker ends. Without it, a worker
// would connect without end to a server that is gone.
const maxFailures = 20

// worker runs one session after another. take reserves one message of the phase. It returns false
// if the phase is over.
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

// session runs one session and sends its messages. The caller has already called take for the first
// message.
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
