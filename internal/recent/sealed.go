package recent

import (
	"encoding/binary"
	"sync"
	"time"

	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Sealer copies decisions as texts, and makes Entries of them. It is safe for concurrent use. Only the
// process that made a text can read it.
type Sealer struct {
	codecs   *codecs
	encoders sync.Pool // of *encoder
}

// NewSealer returns a Sealer.
func NewSealer() *Sealer {
	s := &Sealer{codecs: newCodecs()}
	s.encoders.New = func() any { return newEncoder(s.codecs) }
	return s
}

// Seal returns a copy of a decision that was made at a time. It is bounded, and refers to nothing of the
// decision.
func (s *Sealer) Seal(d *judge.Decision, at time.Time, took time.Duration) string {
	e := s.encoders.Get().(*encoder)
	sealed := e.seal(d, at, took)
	// This is not deferred, so that the encoder is not used again after a panic.
	s.encoders.Put(e)
	return sealed
}

// Open returns the Entry of a text that Seal returned.
func (s *Sealer) Open(sealed string) *Entry { return open(s.codecs, sealed).entry() }

// weightBytes is how many octets the weight takes at the beginning of a sealed decision.
const weightBytes = 4

// seal returns the decision as text, from which open makes an Entry: the approximate memory
// that the Entry takes (its weight), the Head, and the rest in the order of Entry.
func (e *encoder) seal(d *judge.Decision, at time.Time, took time.Duration) string {
	e.begin()
	e.out = append(e.out, make([]byte, weightBytes)...)
	head := Head{
		Time: at, QueueID: d.Envelope.QueueID, ID: d.Verdict.ID, Client: d.Session.Client,
		Sender: d.Envelope.MailFrom, Action: d.Verdict.Action, Reason: d.Verdict.Reason,
	}
	if d.Evaluation != nil {
		head.AuthorDomain = d.Evaluation.From.AuthorDomain
	} else {
		took = 0
	}
	put(e, &head)
	e.out = binary.AppendVarint(e.out, int64(took))
	e.verdict(&d.Verdict)
	if e.flag(d.Shadow != nil); d.Shadow != nil {
		e.verdict(&d.Shadow.Live)
		e.verdict(&d.Shadow.Candidate)
	}
	optional(e, d.Evaluation)
	if d.Evaluation == nil {
		put(e, &d.Session)
		put(e, &d.Envelope)
	}
	e.flag(e.truncated)
	binary.BigEndian.PutUint32(e.out, uint32(e.used))
	return string(e.out)
}

// verdict writes a verdict. It takes at most a quarter of maxDecisionBytes, which leaves enough
// memory for the Evaluation. The ID is written first, because it must not be cut off.
func (e *encoder) verdict(v *policy.Verdict) {
	e.text(v.ID)
	e.limit = min(maxDecisionBytes, e.used+maxDecisionBytes/4)
	put(e, v)
	e.limit = maxDecisionBytes
}

func (d *decoder) verdict(v *policy.Verdict) {
	id := d.text()
	take(d, v)
	v.ID = id
}

// opened is a sealed decision whose Head has been read.
type opened struct {
	weight int // approximate memory of the Entry, in octets
	head   Head
	rest   decoder
}

// open reads the Head of a decision that seal wrote. The texts that it returns are parts of
// sealed.
func open(c *codecs, sealed string) *opened {
	o := &opened{rest: decoder{c, sealed, sealed}}
	o.weight = int(binary.BigEndian.Uint32([]byte(o.rest.next(weightBytes))))
	take(&o.rest, &o.head)
	return o
}

// entry reads the rest. It must be called only once.
func (o *opened) entry() *Entry {
	h, d := &o.head, &o.rest
	e := &Entry{
		Time: h.Time, QueueID: h.QueueID, ID: h.ID, Client: h.Client, AuthorDomain: h.AuthorDomain,
		Mode: policy.Monitor, Took: time.Duration(d.varint()),
	}
	if d.verdict(&e.Verdict); e.Verdict.Enforced {
		e.Mode = policy.Enforce
	}
	if d.flag() {
		e.Shadow = &judge.Comparison{}
		d.verdict(&e.Shadow.Live)
		d.verdict(&e.Shadow.Candidate)
	}
	if e.Evaluation = takeOptional[msgauth.Evaluation](d); e.Evaluation == nil {
		e.Session, e.Envelope = new(msgauth.Session), new(msgauth.Envelope)
		take(d, e.Session)
		take(d, e.Envelope)
	}
	e.Truncated = d.flag()
	return e
}
