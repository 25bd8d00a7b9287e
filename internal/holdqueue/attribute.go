package holdqueue

import (
	"context"
	"fmt"
	"time"
)

// maxLabels is the largest number of labels that are read for one list. For each label, a program
// is run.
const maxLabels = 1000

// early and late limit how far a decision may be from the arrival of its message. Postfix uses short
// queue ids again, so an old decision may be about another message with the same id.
const (
	early = time.Minute // the two clocks are read at different moments
	late  = 2 * time.Hour
)

// remember asks the daemon what it remembers of each message.
func (q *Queue) remember(ctx context.Context, l *List) {
	if q.o.Decisions == nil {
		return
	}
	for i := range l.Messages {
		m := &l.Messages[i]
		decisions, err := q.o.Decisions(ctx, m.QueueID)
		if err != nil {
			l.Unseen = append(l.Unseen, fmt.Sprintf("what the running daemon remembers: %v", err))
			return
		}
		for _, d := range decisions {
			if d.Time.Before(m.Arrived.Add(-early)) || d.Time.After(m.Arrived.Add(late)) {
				continue
			}
			m.HeldBy = Other
			if d.Held {
				m.HeldBy, m.Reason, m.ID = Us, d.Reason, d.ID
			}
			m.AuthorDomain = d.AuthorDomain
			break // the newest comes first
		}
	}
}

// readLabels reads the labels of the messages that the daemon does not remember.
func (q *Queue) readLabels(ctx context.Context, l *List) {
	unread, read := 0, 0
	var failure error
	for i := range l.Messages {
		m := &l.Messages[i]
		if m.HeldBy != Unknown {
			continue
		}
		if failure != nil || read == maxLabels || ctx.Err() != nil {
			unread++
			continue
		}
		read++
		ours, reason, err := q.mta.label(ctx, m)
		switch {
		case err != nil:
			failure = err
			unread++
		case ours:
			m.HeldBy, m.Reason = Us, reason
		default:
			m.HeldBy = Other
		}
	}
	if failure == nil && unread > 0 {
		failure = fmt.Errorf("at most %d are read", maxLabels)
	}
	if failure != nil {
		l.Unseen = append(l.Unseen, fmt.Sprintf("the labels of %d messages: %v", unread, failure))
	}
}
