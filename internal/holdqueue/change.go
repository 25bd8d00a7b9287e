package holdqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrNotOurs means that the daemon did not put a message on hold, or that it is not known who did.
var ErrNotOurs = errors.New("not held by sekimori")

// Release puts messages back into the delivery queue. It releases none of them if one is not on
// hold. It also releases none if one was not put on hold by the daemon, unless force is true.
func (q *Queue) Release(ctx context.Context, ids []string, force bool) error {
	return q.change(ctx, ids, force, q.mta.release)
}

// Drop deletes messages, under the same conditions as Release.
func (q *Queue) Drop(ctx context.Context, ids []string, force bool) error {
	return q.change(ctx, ids, force, q.mta.drop)
}

func (q *Queue) change(ctx context.Context, ids []string, force bool, act func(context.Context, string) error) error {
	for _, id := range ids {
		if err := CheckID(id); err != nil {
			return err
		}
	}
	found := &List{}
	err := q.mta.held(ctx, func(m Message) {
		if slices.Contains(ids, m.QueueID) {
			m.HeldBy = Unknown
			found.Messages = append(found.Messages, m)
		}
	})
	if err != nil {
		return err
	}
	q.remember(ctx, found)
	q.readLabels(ctx, found)
	for _, id := range ids {
		i := slices.IndexFunc(found.Messages, func(m Message) bool { return m.QueueID == id })
		switch {
		case i < 0:
			return fmt.Errorf("holdqueue: %s is not on hold; nothing was changed", id)
		case found.Messages[i].HeldBy != Us && !force:
			return refusal(found, id, found.Messages[i].HeldBy)
		}
	}
	for i, id := range ids {
		if err := act(ctx, id); err != nil {
			return fmt.Errorf("%w (message %d of %d)", err, i+1, len(ids))
		}
	}
	return nil
}

// refusal returns the error that says why a message is not released or deleted.
func refusal(found *List, id string, by HeldBy) error {
	why := "somebody else put it on hold"
	if by == Unknown {
		why = "it is not known who put it on hold"
		for _, u := range found.Unseen {
			why += "; could not look at " + u
		}
	}
	return fmt.Errorf("holdqueue: %s is %w: %s; nothing was changed (--force does it nevertheless)", id, ErrNotOurs, why)
}
