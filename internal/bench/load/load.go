// Package load plays an MTA under load. It sends a corpus of mail through milters, as Postfix does,
// and measures the time and the resources that the milters use. The command milterload is built on
// it.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
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
	// CheckReplies compares only whether a message was accepted, deferred or refused. An MTA shows
	// no more than that to its clients.
	CheckReplies Check = "replies"
	// CheckNone accepts every outcome.
	CheckNone Check = "none"
)

// Options are the parameters of one run.
type Options struct {
	// Milters are asked one after another, as with Postfix's smtpd_milters. Each milter gets the
	// header with the edits of the milters before it.
	Milters []Target
	// MTA is the address of an MTA that has the milters. If it is set, the mail is sent to this MTA
	// by SMTP, and Milters must be empty. The MTA must know the PROXY protocol.
	MTA         Target
	Connections int
	// Messages is the number of messages to send. If the corpus has fewer messages, it is repeated.
	// If Messages is 0, the corpus is sent once, or repeatedly until Duration is over if Duration
	// is not 0.
	Messages int
	// Duration is the time after which the run ends even if not all messages have been sent. 0
	// means no limit.
	Duration time.Duration
	// Rate is the number of messages that are sent in a second, at times that do not depend on the
	// answers. If it is 0, each connection sends its next message as soon as the last one is
	// answered. With a rate, all times of a message are measured from the time at which it was due.
	// So a message that had to wait for a free connection shows its whole delay, which would
	// otherwise be hidden ("coordinated omission").
	Rate float64
	// Warmup is the number of messages that are sent before the measurement begins, without regard
	// to Rate. If Duration is not 0, the warm-up ends after three times Duration at the latest.
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
	// SystemCalls makes the run count the system calls and context switches of these processes. The
	// program perf counts them, which takes some CPU time of the processes.
	SystemCalls bool
	// Queries returns the number of questions that the name server has received so far. It may be
	// nil.
	Queries func() int64
}

const (
	maxConnections = 10_000
	maxRate        = 1_000_000 // messages a second
)

// Validate returns an error if the options are invalid.
func (o Options) Validate() error {
	switch {
	case (len(o.Milters) == 0) == (o.MTA == Target{}):
		return errors.New("load: mail is sent either to milters or to an MTA")
	case o.MTA != Target{} && o.Check != CheckReplies && o.Check != CheckNone:
		return fmt.Errorf("load: behind an MTA the check must be %s or %s", CheckReplies, CheckNone)
	case o.Connections < 1 || o.Connections > maxConnections:
		return fmt.Errorf("load: %d connections; 1 to %d", o.Connections, maxConnections)
	case o.Messages < 0, o.Warmup < 0, o.Duration < 0, o.RoundTrip < 0:
		return errors.New("load: messages, warm-up, duration and round trip cannot be negative")
	case !(o.Rate >= 0 && o.Rate <= maxRate): // also true for NaN
		return fmt.Errorf("load: %g messages a second; 0 to %d", o.Rate, maxRate)
	case o.SystemCalls && len(o.PIDs) == 0:
		return errors.New("load: system calls can be counted only of given processes")
	}
	if all := []Check{CheckAll, CheckResults, CheckSafe, CheckReplies, CheckNone}; !slices.Contains(all, o.Check) {
		return fmt.Errorf("load: %q is none of %s", o.Check, strings.Trim(fmt.Sprint(all), "[]"))
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
		warm := r.phase(ctx, int64(o.Warmup), 3*o.Duration, 0)
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
	m, err := startMeter(ctx, o)
	if err != nil {
		return nil, err
	}
	t := r.phase(ctx, limit, o.Duration, o.Rate)
	used, err := m.stop()
	if err != nil {
		return nil, fmt.Errorf("%w (did a server end?)", err)
	}
	if t.messages == 0 && t.err != nil {
		return nil, t.err
	}
	return newSummary(t, used, o), nil
}

// runner sends the corpus. The warm-up and the measurement are two phases; the measurement
// continues with the session after the last session of the warm-up.
type runner struct {
	corpus *traffic.Corpus
	o      Options
	next   atomic.Int64 // number of sessions that have been started
}

// phase sends messages until limit messages have been started or duration is over. It returns what
// its connections counted and measured together.
func (r *runner) phase(ctx context.Context, limit int64, duration time.Duration, rate float64) *tally {
	s := newSchedule(ctx, limit, duration, rate)
	tallies := make([]*tally, r.o.Connections)
	var work sync.WaitGroup
	for i := range tallies {
		tallies[i] = newTally()
		work.Go(func() { r.worker(s, tallies[i]) })
	}
	work.Wait()
	sum := tallies[0]
	for _, t := range tallies[1:] {
		sum.merge(t)
	}
	sum.unsent = s.unsent()
	return sum
}

// maxFailures is the number of failed sessions after which a worker ends. Without it, a worker
// would connect without end to a server that is gone.
const maxFailures = 20

// worker runs one session after another until the schedule has no more messages.
func (r *runner) worker(s *schedule, t *tally) {
	for t.errors < maxFailures {
		due, ok := s.next()
		if !ok {
			return
		}
		sessions := r.corpus.Sessions
		session := sessions[int((r.next.Add(1)-1)%int64(len(sessions)))]
		if err := r.session(session, due, s, t); err != nil {
			t.errors++
			t.err = err
			continue
		}
		t.session.add(time.Since(due))
	}
}

// carrier takes the mail of one session: the milters themselves, or an MTA that has milters.
type carrier interface {
	begin(s traffic.Session) error
	// send sends one message. wait is how long the answer to the end of the message took.
	send(m *traffic.Message) (got traffic.Outcome, wait time.Duration, err error)
	quit() error
}

func (r *runner) dial() (carrier, error) {
	if (r.o.MTA != Target{}) {
		return dialSMTP(r.o.MTA, cmp.Or(r.o.Timeout, time.Minute))
	}
	return dial(r.o.Milters, r.o.Timeout, r.o.RoundTrip)
}

// session runs one session and sends its messages. The first message is due at the given time.
// The schedule says when the others are due.
func (r *runner) session(session traffic.Session, due time.Time, s *schedule, t *tally) (err error) {
	t.late.add(time.Since(due))
	c, err := r.dial()
	if err != nil {
		return err
	}
	defer func() {
		if e := c.quit(); err == nil {
			err = e
		}
	}()
	if err := c.begin(session); err != nil {
		return err
	}
	for i := range session.Messages {
		if i > 0 {
			var ok bool
			if due, ok = s.next(); !ok {
				return nil
			}
			t.late.add(time.Since(due))
		}
		m := &session.Messages[i]
		start := due
		if r.o.Rate == 0 {
			start = time.Now()
		}
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
