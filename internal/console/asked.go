package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"sekimori/internal/printable"
	"sekimori/internal/readiness"
	"sekimori/internal/senders"
	"sekimori/internal/stats"
)

const (
	// askTime is how long a viewer waits for an answer of the store, the time for those before included. The
	// server gives an answer 30 s.
	askTime = 20 * time.Second
	// answerLife is how long an answer is shown again without a new question. What is asked is about days.
	answerLife = time.Minute
	// maxAnswers is how many answers are kept. The largest have some MiB: the networks of many senders.
	maxAnswers = 8
	// maxWaiting is how many viewers may wait for the store. Others are refused at once.
	maxWaiting = 16
)

// Memory answers questions about what the store remembers. An answer may take seconds, so the Console asks one
// question at a time, with a time limit, and shows each answer for a minute.
type Memory struct {
	Month func(ctx context.Context, month time.Time) (*stats.Month, error)
	// Senders adds the store, the time, and who signs the mails to senders.Options.
	Senders func(ctx context.Context, o senders.Options) (*senders.List, error)
	// Readiness judges the last days by the configuration in effect.
	Readiness func(ctx context.Context, days int) (*readiness.Report, error)
}

// desk puts the questions of all viewers to the store, one after the other. Its zero value is ready.
type desk struct {
	mu      sync.Mutex
	answers []answer // the newest last, at most maxAnswers
	waiting int
	turn    chan struct{} // has a value while a question is asked; made by the first question
}

type answer struct {
	question string
	at       time.Time
	value    any
}

var errBusy = errors.New("too many viewers wait for the store")

// known returns the answer that is kept. Without one, the caller takes a place among those who wait, unless
// there is none, and must give it back by leave.
func (d *desk) known(question string, now time.Time) (a answer, found bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a, found = d.find(question, now); found {
		return a, true, nil
	}
	if d.waiting >= maxWaiting {
		return a, false, errBusy
	}
	if d.turn == nil {
		d.turn = make(chan struct{}, 1)
	}
	d.waiting++
	return a, false, nil
}

// find returns the answer that is kept. The caller holds mu.
func (d *desk) find(question string, now time.Time) (answer, bool) {
	for _, a := range d.answers {
		if age := now.Sub(a.at); a.question == question && age >= 0 && age < answerLife {
			return a, true
		}
	}
	return answer{}, false
}

func (d *desk) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting--
}

// keep keeps an answer instead of an older one to the same question, or instead of the oldest.
func (d *desk) keep(a answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers = slices.DeleteFunc(d.answers, func(old answer) bool { return old.question == a.question })
	d.answers = append(d.answers, a)
	d.answers = slices.Delete(d.answers, 0, max(0, len(d.answers)-maxAnswers))
}

// ask returns the answer to a question: the one that is kept, or what read returns.
func (d *desk) ask(ctx context.Context, question string, now func() time.Time, read func(context.Context) (any, error)) (answer, error) {
	a, found, err := d.known(question, now())
	if found || err != nil {
		return a, err
	}
	defer d.leave()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return a, ctx.Err()
	}
	d.mu.Lock()
	a, found = d.find(question, now()) // the one before may have asked the same
	d.mu.Unlock()
	if found {
		return a, nil
	}
	if err := ctx.Err(); err != nil { // the turn came when the time was over
		return a, err
	}
	value, err := read(ctx)
	if err != nil {
		return a, err
	}
	a = answer{question, now(), value}
	d.keep(a)
	return a, nil
}

// ask returns an answer of the store, and when it was given.
func ask[T any](c *Console, r *http.Request, question string, read func(context.Context) (*T, error)) (*T, time.Time, *problem) {
	a, err := c.desk.ask(r.Context(), question, c.o.Now, func(ctx context.Context) (any, error) {
		v, err := read(ctx)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err() // databases have words of their own for it
		}
		return v, err
	})
	value, ok := a.value.(*T)
	switch {
	case errors.Is(err, errBusy):
		return nil, a.at, &problem{http.StatusServiceUnavailable, "Too many viewers wait for the store.", "Load the page again in a minute."}
	case errors.Is(err, context.DeadlineExceeded):
		return nil, a.at, &problem{http.StatusServiceUnavailable, "The store did not answer in 20 seconds.", "Ask for fewer days, or use the command of the same name, which waits longer."}
	case err != nil:
		return nil, a.at, &problem{http.StatusServiceUnavailable, "The store cannot be read.", printable.Value(err.Error())}
	case !ok:
		return nil, a.at, &problem{http.StatusInternalServerError, "The page cannot be made.", "The store gave another answer than was asked for."}
	}
	return value, a.at, nil
}
