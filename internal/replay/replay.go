// Package replay judges stored mail (an mbox, a Maildir or a directory of messages) as the daemon
// would have judged it on receipt. It does so by the configuration in effect and, for comparison,
// by a candidate configuration. Only the header of a message is kept in memory, because the body is
// hashed as it is read.
//
// One goroutine reads the source, and as many workers as the process has cores read the headers and
// hash the bodies. Several messages wait for DNS at the same time. The results are counted in the
// order of the source, so the output does not depend on the number of cores.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/received"
	"sekimori/internal/spf"
)

// The header and the results of every message in progress are kept in memory. leastInProgress and
// inProgressPerCore limit the number of these messages. The limit is high enough to keep all cores
// busy while some messages wait for DNS.
const (
	leastInProgress   = 32
	inProgressPerCore = 4
)

// Options say what to replay, and how.
type Options struct {
	Source Source
	Origin received.Origin
	Config *config.Config
	// Candidate is a second configuration that is compared with Config. It may be nil.
	Candidate *config.Config
	Resolver  dns.Resolver
	// Progress is called after each message that was read. It may be nil.
	Progress func(done, total int64, messages int)
}

// outcome is the result for one message.
type outcome struct {
	message  *Message
	queueID  string
	author   dns.Name
	live     judge.Decision
	compared policy.Verdict // the verdict by the candidate
	// unanswered says that SPF, iprev, DKIM or DMARC gave the result temperror.
	unanswered bool
	err        error // why the message could not be judged
}

// errInterrupted is the error of a message whose DNS lookups were not finished when the run was
// interrupted. The summary does not count such a message.
var errInterrupted = errors.New("interrupted")

// runner judges the messages of a run.
type runner struct {
	o       Options
	judges  []*judge.Judge // for Config, and then for Candidate if there is one
	same    bool           // both configurations lead to the same facts (sameFacts)
	trusted func(netip.Addr) bool
	blocks  *pool
}

// job is one message, to be judged by a worker.
type job struct {
	message *Message
	text    *feed // the text of a message of an mbox; nil for a message in a file of its own
	result  chan<- outcome
}

// Run replays all messages of the source. If the source fails or ctx ends, Run returns the error
// and a summary of the messages that were judged before.
func Run(ctx context.Context, o Options) (*Summary, error) {
	r := &runner{o: o, trusted: o.Config.Trusted.Contains}
	live, end, err := app.NewJudge(o.Config, o.Resolver)
	if err != nil {
		return nil, err
	}
	defer end()
	r.judges = []*judge.Judge{live}
	if o.Candidate != nil {
		candidate, end, err := app.NewJudge(o.Candidate, o.Resolver)
		if err != nil {
			return nil, fmt.Errorf("candidate: %w", err)
		}
		defer end()
		r.same = sameFacts(o.Config, o.Candidate)
		r.judges = append(r.judges, candidate)
	}
	summary := newSummary(o.Candidate != nil)
	if err = r.run(ctx, summary); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return summary, fmt.Errorf("replay: after %d messages: %w", summary.Messages, err)
	}
	return summary, nil
}

// run judges all messages of the source and adds the outcomes to the summary.
func (r *runner) run(ctx context.Context, summary *Summary) error {
	cores := runtime.GOMAXPROCS(0)
	r.blocks = newPool(blocksPerCore * cores)
	inProgress := max(leastInProgress, inProgressPerCore*cores)
	pending, jobs, ended := make(chan chan outcome, inProgress), make(chan job, inProgress), make(chan error, 1)
	var working sync.WaitGroup
	defer working.Wait()
	for range cores {
		working.Go(func() { r.work(ctx, jobs) })
	}
	go func() {
		defer close(pending)
		defer close(jobs)
		ended <- r.read(ctx, pending, jobs)
	}()
	for p := range pending { // in the order of the source
		out := <-p
		if errors.Is(out.err, errInterrupted) {
			continue
		}
		summary.add(out)
	}
	summary.finish()
	return <-ended
}

// sameFacts reports whether two configurations lead to the same facts about every message. If
// they do, a message is evaluated only once, and only the decision is made twice. The watch lists
// count, because they decide who gets the trait lookalike.
func sameFacts(a, b *config.Config) bool {
	return a.AuthservID == b.AuthservID && a.DNS.MessageBudget == b.DNS.MessageBudget && reflect.DeepEqual(a.DKIM, b.DKIM) &&
		reflect.DeepEqual(a.DMARC, b.DMARC) && reflect.DeepEqual(a.Limits, b.Limits) && reflect.DeepEqual(a.Trusted, b.Trusted) &&
		reflect.DeepEqual(a.Watch, b.Watch) && reflect.DeepEqual(a.Policy.Recipients, b.Policy.Recipients)
}

// read reads all messages of the source and passes them to the workers. For each message it first
// sends a channel to pending, on which the outcome of the message will be sent.
func (r *runner) read(ctx context.Context, pending chan<- chan outcome, jobs chan<- job) error {
	for number := 1; ctx.Err() == nil; number++ {
		m, err := r.o.Source.Next()
		if errors.Is(err, io.EOF) {
			r.progress(number - 1)
			return nil
		}
		if err != nil {
			return err
		}
		result := make(chan outcome, 1)
		select {
		case pending <- result:
		case <-ctx.Done():
			return nil
		}
		j := job{message: m, result: result}
		if m.lines != nil {
			j.text = newFeed(r.blocks)
		}
		jobs <- j // has room, because jobs has as many places as pending
		if m.lines != nil {
			j.text.fill(ctx, m.lines)
		}
		r.progress(number)
	}
	return nil
}

func (r *runner) progress(messages int) {
	if r.o.Progress != nil {
		done, total := r.o.Source.Progress()
		r.o.Progress(done, total, messages)
	}
}

// finish waits for the DNS lookups, makes the decisions and returns the outcome.
func (r *runner) finish(ctx context.Context, out outcome, cases []*judge.Stored) outcome {
	decisions := make([]judge.Decision, len(cases))
	for i, c := range cases {
		decisions[i] = c.Finish(ctx)
	}
	if ctx.Err() != nil {
		out.err = errInterrupted // some DNS lookups were given up
		return out
	}
	out.live = decisions[0]
	if e := out.live.Evaluation; e != nil {
		out.author, out.unanswered = e.From.AuthorDomain, unanswered(e)
	}
	switch {
	case len(decisions) > 1:
		out.compared = decisions[1].Verdict
	case len(r.judges) > 1:
		out.compared = r.judges[1].Again(&out.live)
	}
	return out
}

// unanswered reports whether SPF, iprev, DKIM or DMARC gave the result temperror for the message.
// Usually the cause is a failed DNS lookup. On receipt the lookup may have succeeded, and the
// decision may have been different. A failed lookup for ARC alone does not count.
func unanswered(e *msgauth.Evaluation) bool {
	return e.HELO.Result == spf.TempError || e.MailFrom.Result == spf.TempError || e.IPRev.Status == iprev.TempError ||
		e.DMARC.Result == dmarc.ResultTempError ||
		slices.ContainsFunc(e.DKIM, func(s dkim.Signature) bool { return s.Result == dkim.TempError })
}
