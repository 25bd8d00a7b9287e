// Package recent remembers the last decisions. A postmaster can ask the running daemon
// about a message by its queue id, or by the ID that a bounced sender quotes.
//
// A decision is kept as a bounded copy. Without the copy, any text of a decision could
// keep the whole header of the message in memory, and the sender chooses the size of
// the header. A decision is encoded as JSON only when a client asks for it.
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
	// maxBytes bounds the memory of a ring in octets, whatever its number of entries.
	// Five thousand ordinary messages fit.
	maxBytes = 64 << 20
	// maxDecisionBytes bounds one decision in octets. An ordinary decision has less than
	// 8 KiB. A sender can make one a hundred times larger by signatures and traces.
	maxDecisionBytes = 64 << 10
)

// Entry is what a Ring keeps of a judge.Decision. It has no edits, because an edit can
// hold the Subject, which is content of the message.
type Entry struct {
	Time time.Time `json:"time"` // when it was decided
	// QueueID is the MTA's name for the message.
	QueueID string `json:"queue_id,omitempty"`
	// ID is the explanation ID that the SMTP reply and the log quote; "" for
	// a message that was not evaluated.
	ID string `json:"id,omitempty"`
	// Client is the SMTP client's address.
	Client netip.Addr `json:"client_ip,omitzero"`
	// AuthorDomain is the domain in the From field, "" if there is none.
	AuthorDomain dns.Name `json:"author_domain,omitempty"`
	// Mode is the mode of the daemon when it decided.
	Mode policy.Mode `json:"mode"`
	// Took is how long the end of the message took here.
	Took    time.Duration  `json:"took_ns"`
	Verdict policy.Verdict `json:"verdict"`
	// Shadow is what the policy in effect and the candidate made of the facts,
	// before recipients were asked for their consent; absent without a candidate.
	Shadow *judge.Comparison `json:"shadow,omitempty"`
	// Evaluation has every fact; absent for a message that was skipped or over a limit.
	Evaluation *msgauth.Evaluation `json:"evaluation,omitempty"`
	// Session and Envelope are absent where there is an Evaluation, which has them too.
	Session  *msgauth.Session  `json:"session,omitempty"`
	Envelope *msgauth.Envelope `json:"envelope,omitempty"`
	// Truncated says that long values or lists were cut, to keep the entry small.
	Truncated bool `json:"truncated,omitempty"`

	weight int // octets of memory, approximately
}

// Options are the options of a Ring.
type Options struct {
	Entries int              // how many decisions are kept, at most MaxEntries
	Now     func() time.Time // default time.Now
}

// Ring holds the last decisions; new ones replace the oldest. It is a filter.Observer
// and safe for concurrent use. The lock is held only to store a pointer or to copy
// pointers, never while a decision is copied or encoded.
type Ring struct {
	now func() time.Time
	cut *cutter

	mu    sync.Mutex
	slots []*Entry // used as a circle
	next  int      // the slot of the next entry
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

// forgetOldest removes the oldest entry. The caller holds the lock, and there must be
// an entry.
func (r *Ring) forgetOldest() {
	i := (r.next - r.count + len(r.slots)) % len(r.slots)
	r.bytes -= r.slots[i].weight
	r.slots[i] = nil
	r.count--
}

// newestFirst returns all entries, the newest first.
func (r *Ring) newestFirst() []*Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Entry, r.count)
	for i := range out {
		out[i] = r.slots[(r.next-1-i+len(r.slots))%len(r.slots)]
	}
	return out
}

// Query says which decisions are wanted. A field that is not set matches all.
type Query struct {
	QueueID string
	ID      string // in upper or lower case
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

// Search returns the entries that match, the newest first, and whether there are more
// than the limit. The entries are shared and must not be changed.
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
