// Package recent keeps the last decisions in memory. A postmaster can ask the running
// daemon for the decision on a message, by the queue id or by the explanation ID that a
// sender quotes from a bounce.
//
// The package keeps a copy of each decision, and limits the size of the copy. It does
// not keep the original, because the texts of the original may share memory with the
// message's header. The whole header would then stay in memory, and the sender chooses
// its size. A copy is encoded as JSON only when a client asks for it.
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
	// MaxEntries is the largest number of entries that a Ring can hold.
	MaxEntries = 100_000
	// maxBytes limits the memory of all entries of a Ring, in octets. About five thousand
	// ordinary decisions fit.
	maxBytes = 64 << 20
	// maxDecisionBytes limits the copy of one decision, in octets. An ordinary decision
	// takes less than 8 KiB. With many signatures and long SPF records, a sender could make
	// a decision a hundred times larger.
	maxDecisionBytes = 64 << 10
)

// Entry is the copy of a judge.Decision that a Ring keeps. It does not contain the edits,
// because an edit can hold the Subject, which is content of the message.
type Entry struct {
	Time time.Time `json:"time"` // when the decision was made
	// QueueID is the MTA's queue id of the message.
	QueueID string `json:"queue_id,omitempty"`
	// ID is the explanation ID that the SMTP reply and the log quote. It is "" for a
	// message that was not evaluated.
	ID string `json:"id,omitempty"`
	// Client is the IP address of the SMTP client.
	Client netip.Addr `json:"client_ip,omitzero"`
	// AuthorDomain is the domain in the From field, or "" if there is none.
	AuthorDomain dns.Name `json:"author_domain,omitempty"`
	// Mode is the mode of the daemon when the decision was made.
	Mode policy.Mode `json:"mode"`
	// Took is the time from the end of the message to the decision. It is 0 for a message
	// that was not evaluated.
	Took    time.Duration  `json:"took_ns"`
	Verdict policy.Verdict `json:"verdict"`
	// Shadow has the verdicts of the policy in effect and of the candidate policy, as they
	// were before the consent of the recipients was considered. Shadow is absent if there is
	// no candidate policy.
	Shadow *judge.Comparison `json:"shadow,omitempty"`
	// Evaluation has the results of all checks. It is absent for a message that was skipped
	// or over a limit.
	Evaluation *msgauth.Evaluation `json:"evaluation,omitempty"`
	// Session and Envelope are absent if there is an Evaluation, which contains them.
	Session  *msgauth.Session  `json:"session,omitempty"`
	Envelope *msgauth.Envelope `json:"envelope,omitempty"`
	// Truncated says that long texts or lists were cut, to keep the entry small.
	Truncated bool `json:"truncated,omitempty"`

	weight int // approximate size in memory, in octets
}

// Options are the options of a Ring.
type Options struct {
	Entries int              // how many decisions are kept; at least 1, at most MaxEntries
	Now     func() time.Time // nil means time.Now
}

// Ring keeps the last decisions. If the Ring is full, a new decision replaces the oldest.
// Ring is a filter.Observer, and is safe for concurrent use. Decisions are copied and
// encoded without the lock. The lock is held only while pointers to entries are stored or
// read.
type Ring struct {
	now func() time.Time
	cut *cutter

	mu    sync.Mutex
	slots []*Entry // used as a circle: after the last slot comes the first
	next  int      // index of the slot for the next entry
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

// forgetOldest removes the oldest entry. The caller must hold the lock, and the Ring must
// not be empty.
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

// Query selects decisions. A decision must match each field that is set.
type Query struct {
	QueueID string
	ID      string // the explanation ID, in upper or lower case
	Author  dns.Name
	Client  netip.Addr
	Limit   int // largest number of entries to return; 0 means all
}

func (q Query) matches(d *Entry) bool {
	return (q.QueueID == "" || q.QueueID == d.QueueID) &&
		(q.ID == "" || strings.EqualFold(q.ID, d.ID)) &&
		(q.Author == "" || q.Author == d.AuthorDomain) &&
		(!q.Client.IsValid() || q.Client.Unmap() == d.Client.Unmap())
}

// Search returns the entries that match q, the newest first. more is true if q.Limit left
// out further entries. The caller must not change the entries, because they are shared.
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
