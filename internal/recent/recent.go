// Package recent remembers the last decisions, so that a postmaster can ask the
// running daemon about a message by its queue id, or by the ID a bounced sender
// quotes.
//
// A decision is kept as a bounded copy: a message's header could be held by any
// substring of it, and the sender chooses how large that is. Nothing is encoded
// before somebody asks.
package recent

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

const (
	// MaxEntries is the most a ring can be asked to hold.
	MaxEntries = 100_000
	// maxBytes bounds a ring's memory in octets, however many entries it may
	// have: five thousand ordinary messages.
	maxBytes = 64 << 20
	// maxDecisionBytes bounds one decision in octets. Ordinary ones have under
	// 8 KiB; a sender can make a hundred times that of signatures and traces.
	maxDecisionBytes = 64 << 10
)

// Entry is what a Ring keeps of a judge.Decision: a bounded copy, without the
// edits, because these can hold the Subject, which is the content of the message.
type Entry struct {
	Time time.Time `json:"time"` // when it was decided
	// QueueID is the MTA's name for the message.
	QueueID string `json:"queue_id,omitempty"`
	// ID is the explanation ID that the SMTP reply and the log quote; "" for
	// a message that was not evaluated.
	ID string `json:"id,omitempty"`
	// Client is the SMTP client's address.
	Client netip.Addr `json:"client_ip,omitzero"`
	// AuthorDomain is the one of the From field, "" if it names none.
	AuthorDomain dns.Name `json:"author_domain,omitempty"`
	// Mode is that of the daemon when it decided.
	Mode policy.Mode `json:"mode"`
	// Took is how long end of message took here.
	Took    time.Duration  `json:"took_ns"`
	Verdict policy.Verdict `json:"verdict"`
	// Shadow is what the policy in effect and the candidate made of the facts,
	// before recipients were asked for their consent; absent without a candidate.
	Shadow *judge.Comparison `json:"shadow,omitempty"`
	// Evaluation is every fact found; absent for a message that was skipped,
	// or refused for its size.
	Evaluation *msgauth.Evaluation `json:"evaluation,omitempty"`
	// Session and Envelope are there only where there is no Evaluation, which
	// has its own.
	Session  *msgauth.Session  `json:"session,omitempty"`
	Envelope *msgauth.Envelope `json:"envelope,omitempty"`
	// Truncated says that long values or lists were cut to keep the record
	// small.
	Truncated bool `json:"truncated,omitempty"`

	weight int // octets of memory, about
}

// Options of a Ring.
type Options struct {
	Entries int              // how many decisions are kept, at most MaxEntries
	Now     func() time.Time // default time.Now
}

// Ring holds the last decisions; the oldest make room. It is a filter.Observer,
// safe for concurrent use, and its lock is never held for longer than it takes
// to put a pointer in place or to copy pointers out.
type Ring struct {
	now func() time.Time
	cut *cutter

	mu    sync.Mutex
	slots []*Entry // a circle
	next  int      // where the next one goes
	count int
	bytes int
}

// New returns a Ring.
func New(o Options) *Ring {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Ring{now: o.Now, cut: newCutter(), slots: make([]*Entry, max(1, min(o.Entries, MaxEntries)))}
}

// Decided implements filter.Observer.
func (r *Ring) Decided(d *judge.Decision, took time.Duration) {
	c := r.cut.begin()
	e := &Entry{QueueID: c.text(d.Envelope.QueueID), Client: d.Session.Client}
	if d.Evaluation != nil {
		e.Took, e.AuthorDomain = took, dns.Name(c.text(string(d.Evaluation.From.AuthorDomain)))
	}
	e.Verdict = c.verdict(d.Verdict)
	if d.Shadow != nil {
		e.Shadow = &judge.Comparison{Live: c.verdict(d.Shadow.Live), Candidate: c.verdict(d.Shadow.Candidate)}
	}
	if d.Evaluation != nil {
		e.Evaluation = new(cutCopy(c, *d.Evaluation))
	} else {
		e.Session, e.Envelope = new(cutCopy(c, d.Session)), new(cutCopy(c, d.Envelope))
	}
	r.add(e, c)
}

func (r *Ring) add(e *Entry, c *cut) {
	e.Time, e.ID, e.Mode, e.Truncated, e.weight = r.now(), e.Verdict.ID, policy.Monitor, c.truncated, c.used
	if e.Verdict.Enforced {
		e.Mode = policy.Enforce
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == len(r.slots) {
		r.forgetOldest()
	}
	r.slots[r.next] = e
	r.next = (r.next + 1) % len(r.slots)
	r.count++
	for r.bytes += e.weight; r.bytes > maxBytes; {
		r.forgetOldest()
	}
}

// forgetOldest is called with the lock held and at least one entry.
func (r *Ring) forgetOldest() {
	i := (r.next - r.count + len(r.slots)) % len(r.slots)
	r.bytes -= r.slots[i].weight
	r.slots[i] = nil
	r.count--
}

// newestFirst copies the pointers out.
func (r *Ring) newestFirst() []*Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Entry, r.count)
	for i := range out {
		out[i] = r.slots[(r.next-1-i+len(r.slots))%len(r.slots)]
	}
	return out
}

// Query says which decisions are wanted; what is not set does not matter.
type Query struct {
	QueueID string
	ID      string // in either case of its letters
	Author  dns.Name
	Client  netip.Addr
	Limit   int // how many at most; 0 is all
}

func (q Query) matches(d *Entry) bool {
	return (q.QueueID == "" || q.QueueID == d.QueueID) &&
		(q.ID == "" || strings.EqualFold(q.ID, d.ID)) &&
		(q.Author == "" || q.Author == d.AuthorDomain) &&
		(!q.Client.IsValid() || q.Client.Unmap() == d.Client.Unmap())
}

// Search returns the decisions that match, the newest first, and whether there
// are more than the limit. They are shared: do not modify.
func (r *Ring) Search(q Query) (found []*Entry, more bool) {
	for _, d := range r.newestFirst() {
		if !q.matches(d) {
			continue
		}
		if q.Limit > 0 && len(found) == q.Limit {
			return found, true
		}
		found = append(found, d)
	}
	return found, false
}
