package msgauth

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/spf"
)

const (
	// maxWholeTime is how long a message's results are waited for after its reply, at most. It is also
	// the bound on the memory that a sender can hold with slow name servers.
	maxWholeTime = 2 * time.Second
	// maxWholes is how many messages wait after their reply, at the same time, all messages together.
	maxWholes = 256
	// maxWholeHeaders bounds the octets of the headers that these messages keep. Only a message whose
	// keys are missing keeps its header.
	maxWholeHeaders = 16 << 20
	// wholeShare is the part of the lookup slots that exists once more for these messages: one of so
	// many. They have slots of their own, because no verdict depends on their lookups.
	wholeShare = 16
)

// Whole is the Evaluation of a message whose reply did not wait for every result (see Options.Grace).
// The missing results are waited for in the background.
type Whole struct {
	shown, whole *Evaluation
	done         chan struct{} // closed when whole is set
}

// Wait waits until the results are there, or were waited for long enough, and returns the Evaluation
// with them. The Evaluation that Finish returned does not change. If ctx ends first, Wait returns that
// one.
func (w *Whole) Wait(ctx context.Context) *Evaluation {
	select {
	case <-w.done:
		return w.whole // even if ctx has ended
	default:
	}
	select {
	case <-w.done:
		return w.whole
	case <-ctx.Done():
		return w.shown
	}
}

// wholeBound counts the messages that wait after their reply, and the octets of their headers.
type wholeBound struct{ messages, headers atomic.Int64 }

// take returns false if there is no room.
func (b *wholeBound) take(header int64) bool {
	messages, headers := b.messages.Add(1), b.headers.Add(header)
	if messages <= maxWholes && headers <= maxWholeHeaders {
		return true
	}
	b.release(header)
	return false
}

func (b *wholeBound) release(header int64) {
	b.messages.Add(-1)
	b.headers.Add(-header)
}

// Whole begins to wait for what DMARC reports show of e, the Evaluation that Finish returned, and for
// which Finish did not wait: SPF of MAIL FROM, the keys of signatures, and alignment. It returns nil if
// nothing is missing, if the author's domain does not ask for reports, or if too many messages wait
// already. Call it after Finish and before Close. It does not block.
func (m *Verification) Whole(e *Evaluation) *Whole {
	d, v := &e.DMARC, m.c.v
	left := min(maxWholeTime, time.Until(m.endBudget.deadline))
	if !m.hurried || left <= 0 || d.Result != dmarc.ResultPass || len(d.Record.RUA) == 0 {
		return nil
	}
	noSPF := e.MailFrom.Problem == outOfTime
	noKey := slices.ContainsFunc(e.DKIM, func(s dkim.Signature) bool { return s.NotWaited })
	noOrganization := slices.ContainsFunc(d.Alignments, func(a dmarc.Alignment) bool { return a.Error != nil })
	if !noSPF && !noKey && !noOrganization {
		return nil
	}
	header := int64(0)
	if noKey {
		header = m.headerSize
	}
	if !v.wholes.take(header) {
		return nil
	}
	// The goroutine must not refer to m, because m keeps the header alive.
	later := *v
	later.slots = v.wholeSlots
	c := completion{from: &Connection{v: &later, client: m.session}}
	if noSPF {
		args := c.from.args(pathText(m.path))
		c.mailFrom = &args
	}
	if noKey {
		c.dkim, m.handedOver = m.dkim, true
	}
	w := &Whole{shown: e, done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.c.ctx), left)
	go func() {
		defer close(w.done)
		defer v.wholes.release(header)
		defer cancel()
		w.whole = c.complete(ctx, e, left)
	}()
	return w
}

// completion is what the background needs of a Verification.
type completion struct {
	from     *Connection    // has no lookups of its own
	mailFrom *spf.Args      // nil if the result of SPF is there
	dkim     *dkim.Verifier // nil if all keys are there
}

// complete returns e with the results that were missing. A panic loses only the result of its stage.
func (c *completion) complete(ctx context.Context, e *Evaluation, left time.Duration) *Evaluation {
	whole := *e
	// Alignment comes last and needs a part of the time.
	early, cancel := context.WithTimeout(ctx, left-left/4)
	defer cancel()
	var sender, keys, alignment stage
	if c.dkim != nil {
		defer c.dkim.Close()
		keys.setUp(c.from, dkimStage, e.From.AuthorDomain)
		attempt(func() bool { return c.dkim.Restart(early, &keys) })
	}
	if c.mailFrom != nil {
		sender.setUp(c.from, spfStage, "")
		check, ok := attempt(func() spf.Check { return spf.CheckMailFrom(early, sender.spfAhead(), *c.mailFrom) })
		if ok {
			whole.MailFrom = sender.blame(check)
		}
	}
	if c.dkim != nil {
		if signatures, ok := attempt(func() []dkim.Signature { return c.dkim.Finish(early) }); ok {
			whole.DKIM = signatures
		}
	}
	alignment.setUp(c.from, dmarcStage, e.From.AuthorDomain)
	again, ok := attempt(func() dmarc.Evaluation {
		asks := alignment.ahead()
		return dmarc.Discover(ctx, asks, e.From.AuthorDomain, c.from.v.o.DMARC).Evaluate(ctx, asks, identifiers(&whole))
	})
	// The policy stays the one by which the message was decided.
	if ok && again.Result == dmarc.ResultPass && again.Record.Raw == e.DMARC.Record.Raw {
		whole.DMARC.Alignments, whole.DMARC.AlignedSPF, whole.DMARC.AlignedDKIM = again.Alignments, again.AlignedSPF, again.AlignedDKIM
	}
	return &whole
}
