// Package recent keeps the last decisions in memory. A postmaster can ask the running
// daemon for the decision on a message, by the queue id or by the explanation ID that a
// sender quotes from a bounce.
//
// The package keeps a compact copy of each decision, and limits its size. It does not keep
// the original, because the texts of the original may share memory with the message's
// header. The whole header would then stay in memory, and the sender chooses its size. The
// values are made again, and encoded as JSON, only when a client asks for them.
package recent

import (
	"iter"
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
	// maxBytes limits the memory of all entries of a Ring, in octets. About thirty thousand
	// ordinary decisions fit.
	maxBytes = 32 << 20
	// maxDecisionBytes limits the values of one decision, in octets. Those of an ordinary
	// decision take less than 8 KiB. With many signatures and long SPF records, a sender could
	// make a decision a hundred times larger.
	maxDecisionBytes = 64 << 10
)

// Head is the part of an Entry by which entries are found.
type Head struct {
	Time         time.Time
	QueueID      string
	ID           string
	Client       netip.Addr
	AuthorDomain dns.Name
	Sender       string        // of the envelope, as the client sent it
	Action       policy.Action // of the verdict
	Reason       policy.Reason // of the verdict
	// Host is the name of the host whose daemon made the decision. A Ring does not set it.
	Host string
}

// Entry is the copy of a judge.Decision that a Ring keeps. It does not contain the edits,
// because an edit can hold the Subject, which is content of the message.
type Entry struct {
	Time time.Time `json:"time"` // when the decision was made
	// Host is the name of the host whose daemon made the decision. It is "" if that is the daemon that
	// was asked, and it still remembers the decision.
	Host string `json:"host,omitempty"`
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
}

// Options are the options of a Ring.
type Options struct {
	Entries int              // how many decisions are kept; at least 1, at most MaxEntries
	Now     func() time.Time // nil means time.Now
}

// Ring keeps the last decisions. If the Ring is full, a new decision replaces the oldest.
// Ring is a filter.Observer, and is safe for concurrent use. Decisions are written and read
// without the lock. The lock is held only while the slots are changed or copied.
type Ring struct {
	now    func() time.Time
	sealer *Sealer

	mu    sync.Mutex
	slots []string // what seal returned; used as a circle: after the last slot comes the first
	next  int      // index of the slot for the next entry
	count int
	bytes int
}

// New returns a Ring.
func New(o Options) *Ring {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Ring{now: o.Now, sealer: NewSealer(), slots: make([]string, max(1, min(o.Entries, MaxEntries)))}
}

// Decided implements filter.Observer.
func (r *Ring) Decided(d *judge.Decision, took time.Duration) {
	r.add(r.sealer.Seal(d, r.now(), took))
}

func (r *Ring) add(sealed string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == len(r.slots) {
		r.forgetOldest()
	}
	r.slots[r.next] = sealed
	r.next = (r.next + 1) % len(r.slots)
	r.count++
	for r.bytes += len(sealed); r.bytes > maxBytes; {
		r.forgetOldest()
	}
}

// forgetOldest removes the oldest entry. The caller must hold the lock, and the Ring must
// not be empty.
func (r *Ring) forgetOldest() {
	i := (r.next - r.count + len(r.slots)) % len(r.slots)
	r.bytes -= len(r.slots[i])
	r.slots[i] = ""
	r.count--
}

// newestFirst returns all entries as seal returned them, the newest first.
func (r *Ring) newestFirst() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, r.count)
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
	Sender  string        // the envelope sender, with or without angle brackets; "<>" is the null sender
	Verdict policy.Action // "" for any
	Reason  policy.Reason // of the verdict; "" for any
	Host    string        // the name of the host whose daemon made the decision; "" for any
	// From and Until select a time: From <= time < Until. Zero means no limit.
	From, Until time.Time
	Limit       int // largest number of entries to return; 0 means all
}

// Matches reports whether q selects the entry with this Head.
func (q *Query) Matches(h *Head) bool {
	return (q.QueueID == "" || q.QueueID == h.QueueID) &&
		(q.ID == "" || strings.EqualFold(q.ID, h.ID)) &&
		(q.Author == "" || q.Author == h.AuthorDomain) &&
		(q.Sender == "" || strings.EqualFold(BarePath(q.Sender), BarePath(h.Sender))) &&
		(q.Verdict == "" || q.Verdict == h.Action) && (q.Reason == "" || q.Reason == h.Reason) && (q.Host == "" || q.Host == h.Host) &&
		(q.From.IsZero() || !h.Time.Before(q.From)) && (q.Until.IsZero() || h.Time.Before(q.Until)) &&
		(!q.Client.IsValid() || q.Client.Unmap() == h.Client.Unmap())
}

// NullSender is the envelope sender of a bounce.
const NullSender = "<>"

// BarePath returns a path of MAIL FROM without the angle brackets. The null path stays as it is.
func BarePath(path string) string {
	if path == "" || path == NullSender {
		return NullSender
	}
	return strings.TrimSuffix(strings.TrimPrefix(path, "<"), ">")
}

// SenderDomain returns the domain of an envelope sender, or "" if it has none.
func SenderDomain(sender string) dns.Name {
	path := BarePath(sender)
	// The last "@" counts: a quoted local part may have others (RFC 5321 §4.1.2).
	n, err := dns.ParseName(path[strings.LastIndexByte(path, '@')+1:])
	if err != nil || !strings.Contains(path, "@") {
		return ""
	}
	return n
}

// Head returns the part by which the entry is found.
func (e *Entry) Head() Head {
	h := Head{Time: e.Time, QueueID: e.QueueID, ID: e.ID, Client: e.Client, AuthorDomain: e.AuthorDomain, Action: e.Verdict.Action, Reason: e.Verdict.Reason, Host: e.Host}
	switch {
	case e.Evaluation != nil:
		h.Sender = e.Evaluation.Envelope.MailFrom
	case e.Envelope != nil:
		h.Sender = e.Envelope.MailFrom
	}
	return h
}

// Search returns the entries that match q, the newest first. more is true if q.Limit left
// out further entries.
func (r *Ring) Search(q Query) (found []*Entry, more bool) { return r.Find(q.Matches, q.Limit) }

// Find is like Search, but the function match returns true for the entries to return. limit
// is the largest number of entries to return; 0 means all. An entry takes up to 64 KiB.
func (r *Ring) Find(match func(*Head) bool, limit int) (found []*Entry, more bool) {
	return r.find(match, limit, 0)
}

// FindBounded is like Find, but the entries take at most maxAnswerBytes of memory.
func (r *Ring) FindBounded(match func(*Head) bool, limit int) (found []*Entry, more bool) {
	return r.find(match, limit, maxAnswerBytes)
}

// find is Find for entries that take at most `most` octets of memory; 0 means no limit.
func (r *Ring) find(match func(*Head) bool, limit, most int) (found []*Entry, more bool) {
	size := 0
	for o := range r.each(match) {
		size += o.weight
		if limit > 0 && len(found) == limit || most > 0 && size > most {
			return found, true
		}
		found = append(found, o.entry())
	}
	return found, false
}

// each returns the entries for which the function match returns true, the newest first. Of
// each entry, only the Head has been read.
func (r *Ring) each(match func(*Head) bool) iter.Seq[*opened] {
	return func(yield func(*opened) bool) {
		for _, sealed := range r.newestFirst() {
			if o := open(r.sealer.codecs, sealed); match(&o.head) && !yield(o) {
				return
			}
		}
	}
}
