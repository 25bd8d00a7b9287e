// Package holdqueue says which messages the MTA holds and why, and releases or deletes one of them.
//
// The MTA's own programs list the queue (postqueue, or mailq of Sendmail). Whether the daemon put a
// message on hold is known from the decisions that the running daemon remembers, or else from the
// label that the daemon wrote into the message. Only root may change the queue or read the messages
// in it, so this package is for a command that root runs, and not for the daemon.
package holdqueue

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"sekimori/internal/policy"
)

// HeldBy says who put a message on hold.
type HeldBy string

// The values of HeldBy.
const (
	Us      HeldBy = "sekimori"
	Other   HeldBy = "other"   // for example postsuper -h, a header check or another filter
	Unknown HeldBy = "unknown" // the daemon does not remember the message, and its label could not be read
)

// Limits for the part of a queue that is kept in memory. Senders decide how many messages and
// recipients there are.
const (
	maxMessages   = 10_000 // listed messages; further messages are only counted
	maxRecipients = 10     // listed recipients of a message
)

// Message is a message that the MTA holds.
type Message struct {
	QueueID string    `json:"queue_id"`
	Arrived time.Time `json:"arrived"`
	// Size is the size of the message in octets.
	Size int64 `json:"size"`
	// Sender is the envelope sender. It is "" for the null sender.
	Sender string `json:"sender"`
	// Recipients are the first ten recipients. RecipientCount counts all of them.
	Recipients     []string `json:"recipients"`
	RecipientCount int      `json:"recipient_count"`
	// HeldBy says who put the message on hold: sekimori, other (somebody else), or unknown.
	HeldBy HeldBy `json:"held_by"`
	// Reason is the reason of the daemon's verdict.
	Reason policy.Reason `json:"reason,omitempty"`
	// ID is the explanation ID of the decision, for sekimori explain --id. It is absent if HeldBy
	// is known only from the label of the message.
	ID string `json:"id,omitempty"`
	// AuthorDomain is the domain in From. It is absent if the daemon does not remember the decision.
	AuthorDomain string `json:"author_domain,omitempty"`
	// MTAReason is the reason for the quarantine that the MTA wrote into its queue. Only Sendmail does so.
	MTAReason string `json:"mta_reason,omitempty"`
}

// List is the hold queue at one moment.
type List struct {
	MTA string `json:"mta"` // postfix or sendmail
	// Total counts all messages on hold. Messages lists the first 10,000 of them, the oldest first.
	Total    int       `json:"total"`
	Messages []Message `json:"messages"`
	// Unseen says in words what could not be looked at, and why.
	Unseen []string `json:"unseen,omitempty"`
}

// Decision is what the daemon remembers of a message.
type Decision struct {
	Time         time.Time
	Held         bool // the daemon asked the MTA to hold the message
	Reason       policy.Reason
	ID           string
	AuthorDomain string
}

// Options say whose queue is looked at, and how.
type Options struct {
	// MTA is postfix or sendmail. If it is "", the programs that are installed decide.
	MTA string
	// ConfigDir is the configuration directory of a Postfix instance; "" means the default instance.
	ConfigDir string
	// AuthservID is the name in the daemon's label; "" means the MTA's own name.
	AuthservID string
	// Decisions returns the decisions that the running daemon remembers of a queue id. It may be nil.
	Decisions func(ctx context.Context, queueID string) ([]Decision, error)
}

// mta is the queue of Postfix or Sendmail.
type mta interface {
	// held calls add for each message on hold.
	held(ctx context.Context, add func(Message)) error
	// label reports whether a message's header says that the daemon quarantined it, and the reason.
	label(ctx context.Context, m *Message) (ours bool, reason policy.Reason, err error)
	release(ctx context.Context, queueID string) error
	drop(ctx context.Context, queueID string) error
}

// Queue is the hold queue of an MTA.
type Queue struct {
	o    Options
	name string
	mta  mta
}

// Open finds the MTA. It looks for its programs, and runs none.
func Open(o Options) (*Queue, error) {
	name := o.MTA
	if name == "" {
		name = "postfix"
		if _, err := program("postqueue"); err != nil {
			name = "sendmail"
		}
	}
	switch name {
	case "postfix":
		return &Queue{o, name, &postfix{dir: o.ConfigDir, self: o.AuthservID}}, nil
	case "sendmail":
		if o.ConfigDir != "" {
			return nil, errors.New("holdqueue: a configuration directory is for Postfix; Sendmail has none")
		}
		return &Queue{o, name, &sendmail{}}, nil
	}
	return nil, fmt.Errorf("holdqueue: %q is not an MTA that is known here; write postfix or sendmail", name)
}

// queueIDs matches the queue ids of Postfix (short or long) and of Sendmail. It does not match an
// option, the word ALL of postsuper, a path or a part of an id, so none of these is passed to the
// programs of the MTA.
var queueIDs = regexp.MustCompile(`^[0-9A-Za-z]{6,32}$`)

// CheckID returns an error if id does not have the form of a queue id.
func CheckID(id string) error {
	if !queueIDs.MatchString(id) {
		return fmt.Errorf("holdqueue: %q is not a queue id, which has 6 to 32 letters and digits", id)
	}
	return nil
}

// List lists the messages on hold.
func (q *Queue) List(ctx context.Context) (*List, error) {
	l := &List{MTA: q.name, Messages: []Message{}}
	var odd int
	err := q.mta.held(ctx, func(m Message) {
		if CheckID(m.QueueID) != nil {
			odd++
			return
		}
		if l.Total++; len(l.Messages) < maxMessages {
			m.HeldBy = Unknown
			l.Messages = append(l.Messages, m)
		}
	})
	if err != nil {
		return nil, err
	}
	if odd > 0 {
		l.Unseen = append(l.Unseen, fmt.Sprintf("%d entries whose queue id has an unknown form", odd))
	}
	slices.SortStableFunc(l.Messages, func(a, b Message) int { return a.Arrived.Compare(b.Arrived) })
	q.remember(ctx, l)
	q.readLabels(ctx, l)
	return l, ctx.Err()
}
