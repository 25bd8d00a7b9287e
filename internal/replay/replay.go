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
	"slices"

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

// parallel is how many messages may wait for DNS at a time. They hold results
// and a header each.
const parallel = 32

// Options say what to replay.
type Options struct {
	Source Source
	Origin received.Origin
	Config *config.Config
	// Candidate is compared with Config, if not nil.
	Candidate *config.Config
	Resolver  dns.Resolver
	// Progress is called now and then, if not nil.
	Progress func(done, total int64, messages int)
}

// outcome is what became of one message.
type outcome struct {
	message  *Message
	queueID  string
	author   dns.Name
	live     judge.Decision
	compared policy.Verdict // the candidate's
	// unanswered: an answer of the DNS did not come.
	unanswered bool
	err        error // the message could not be judged
}

// errInterrupted ends a message that the interruption cut off.
var errInterrupted = errors.New("interrupted")

// runner judges messages.
type runner struct {
	o       Options
	judges  []*judge.Judge // the live one, then the candidate's
	same    bool           // both find the same facts
	trusted func(netip.Addr) bool
}

// Run replays the source. The report is complete up to where an error ended
// the run, which is the source's or ctx's.
func Run(ctx context.Context, o Options) (*Report, error) {
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
		reflect.DeepEqual(a.DMARC, b.DMARC) && reflect.DeepEqual(a.Limits, b.Limits) && reflect.DeepEqual(a.Trusted, b.Trusted) &&
		reflect.DeepEqual(a.Policy.Recipients, b.Policy.Recipients)
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
func (r *runner) message(ctx context.Context, src *Message, result chan<- outcome) {
	out := outcome{message: src}
	if src.err != nil {
		out.err = src.err
		result <- out
		return
	}
	in := &wire{lines: src.lines}
	header, rest, whole, err := readHeader(in)
	if err != nil {
		out.err = err
		result <- out
		return
	}
	t, err := r.o.Origin.Find(header, src.Sender, r.trusted)
	if err != nil {
		out.err = err
		result <- out
		return
	}
	out.queueID = t.Envelope.QueueID
	m := judge.Message{Session: t.Session, Envelope: t.Envelope, Header: t.Header, Whole: whole, Time: t.Time, Internal: t.Internal}
	var cases []*judge.Stored
	for i, j := range r.judges {
		if i > 0 && r.same {
			continue
		}
		cases = append(cases, j.Open(ctx, m))
	}
	size := int64(0)
	for err == nil {
		for _, c := range cases {
			c.Write(rest)
		}
		size += int64(len(rest))
		var c chunk
		c, err = in.next()
		rest = c.data
	}
	if !errors.Is(err, io.EOF) {
		for _, c := range cases {
			c.Close()
		}
		out.err = err
		result <- out
		return
	}
	go func() { result <- r.finish(ctx, out, cases) }()
}

// finish waits for the facts and decides.
func (r *runner) finish(ctx context.Context, out outcome, cases []*judge.Stored) outcome {
	decisions := make([]judge.Decision, len(cases))
	for i, c := range cases {
		decisions[i] = c.Finish(ctx)
	}
	if ctx.Err() != nil {
		out.err = errInterrupted // what was found is not all there is
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

// unanswered reports whether an answer of the DNS did not come that the message
// asked for: it may have been judged otherwise on receipt.
func unanswered(e *msgauth.Evaluation) bool {
	return e.HELO.Result == spf.TempError || e.MailFrom.Result == spf.TempError || e.IPRev.Status == iprev.TempError ||
		e.DMARC.Result == dmarc.ResultTempError ||
		slices.ContainsFunc(e.DKIM, func(s dkim.Signature) bool { return s.Result == dkim.TempError })
}
