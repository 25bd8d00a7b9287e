// Package replay judges stored mail as the daemon would have on receipt: an
// mbox, a Maildir or a directory of messages, by the configuration in effect
// and, beside it, by a candidate. No message is held in memory but its header;
// bodies are hashed as they are read, and messages wait for DNS side by side.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
)

// parallel is how many messages may wait for DNS at a time. They hold results
// and a header each.
const parallel = 32

// Options say what to replay.
type Options struct {
	Source Source
	Origin Origin
	Config *config.Config
	// Candidate is compared with Config, if not nil.
	Candidate *config.Config
	Resolver  dns.Resolver
	// Progress is called now and then, if not nil.
	Progress func(done, total int64, messages int)
}

// decision is what one configuration makes of a message.
type decision struct {
	verdict policy.Verdict
	author  dns.Name
}

// outcome is what became of one message.
type outcome struct {
	message  *Message
	queueID  string
	live     decision
	compared decision
	err      error // the message could not be judged
}

// errInterrupted ends a message that the interruption cut off.
var errInterrupted = errors.New("interrupted")

// runner judges messages.
type runner struct {
	o       Options
	judges  []*judge // the live one, then the candidate's
	trusted func(netip.Addr) bool
}

// Run replays the source. The report is complete up to where an error ended
// the run, which is the source's or ctx's.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := &runner{o: o, trusted: o.Config.Trusted.Contains}
	live, err := newJudge(o.Config, o.Resolver)
	if err != nil {
		return nil, err
	}
	r.judges = []*judge{live}
	if o.Candidate != nil {
		candidate, err := newJudge(o.Candidate, o.Resolver)
		if err != nil {
			return nil, fmt.Errorf("candidate: %w", err)
		}
		candidate.same = sameFacts(o.Config, o.Candidate)
		r.judges = append(r.judges, candidate)
	}
	report := newReport(o.Candidate != nil)
	pending := make(chan chan outcome, parallel)
	ended := make(chan error, 1)
	go func() {
		defer close(pending)
		ended <- r.read(ctx, pending)
	}()
	for p := range pending { // in the order of the source
		out := <-p
		if errors.Is(out.err, errInterrupted) {
			continue
		}
		report.add(out)
	}
	report.finish()
	if err = <-ended; err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return report, fmt.Errorf("replay: after %d messages: %w", report.Messages, err)
	}
	return report, nil
}

// sameFacts reports whether two configurations find the same facts, so that
// only the decision has to be made twice.
func sameFacts(a, b *config.Config) bool {
	return a.AuthservID == b.AuthservID && a.DNS.MessageBudget == b.DNS.MessageBudget && reflect.DeepEqual(a.DKIM, b.DKIM) &&
		reflect.DeepEqual(a.DMARC, b.DMARC) && reflect.DeepEqual(a.Limits, b.Limits) && reflect.DeepEqual(a.Trusted, b.Trusted)
}

// read begins every message and leaves its end to a goroutine.
func (r *runner) read(ctx context.Context, pending chan<- chan outcome) error {
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
		r.message(ctx, m, result)
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

// message reads one message and sends its outcome, at once or later.
func (r *runner) message(ctx context.Context, m *Message, result chan<- outcome) {
	out := outcome{message: m}
	if m.err != nil {
		out.err = m.err
		result <- out
		return
	}
	in := &wire{lines: m.lines}
	header, rest, whole, err := readHeader(in)
	if err != nil {
		out.err = err
		result <- out
		return
	}
	t, err := r.o.Origin.find(header, m.Sender, r.trusted)
	if err != nil {
		out.err = err
		result <- out
		return
	}
	out.queueID = t.envelope.QueueID
	var checks []*check
	for i, j := range r.judges {
		if i > 0 && j.same {
			continue
		}
		checks = append(checks, j.begin(ctx, t, whole))
	}
	size := int64(0)
	for err == nil {
		for _, c := range checks {
			c.write(rest)
		}
		size += int64(len(rest))
		var c chunk
		c, err = in.next()
		rest = c.data
	}
	if !errors.Is(err, io.EOF) {
		for _, c := range checks {
			c.close()
		}
		out.err = err
		result <- out
		return
	}
	go func() { result <- r.finish(ctx, out, checks) }()
}

// finish waits for the facts and decides.
func (r *runner) finish(ctx context.Context, out outcome, checks []*check) outcome {
	facts := make([]facts, len(checks))
	for i, c := range checks {
		facts[i] = c.finish(ctx)
	}
	if ctx.Err() != nil {
		out.err = errInterrupted // what was found is not all there is
		return out
	}
	out.live = r.judges[0].decide(facts[0])
	if len(r.judges) > 1 {
		out.compared = r.judges[1].decide(facts[len(facts)-1])
	}
	return out
}

// newJudge makes the verifier and the policy of a configuration.
func newJudge(cfg *config.Config, resolver dns.Resolver) (*judge, error) {
	// Nobody waits for a reply: all results may take the whole budget.
	verifier, err := app.NewVerifier(cfg, resolver, time.Duration(cfg.DNS.MessageBudget))
	if err != nil {
		return nil, err
	}
	rules, err := app.Policy(cfg)
	if err != nil {
		return nil, err
	}
	return &judge{cfg: cfg, verifier: verifier, rules: rules}, nil
}
