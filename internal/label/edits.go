// Package label says what is written into a message, and what is taken out of it,
// once it is decided on: our own fields go in, and fields that strangers wrote in
// our name go out. It is pure: an Evaluation, a Verdict and a Header become a
// list of edits, and whoever has the message applies them.
package label

import (
	"sekimori/internal/authres"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Settings are how the operator wants messages labelled. The zero values of Style
// and MailFrom are StyleOwn and MailFromDomain.
type Settings struct {
	Names
	Style       Style        // spells the dmarc result
	MailFrom    ShowMailFrom // is how much of the envelope sender is shown
	ReceivedSPF bool         // adds that field
	Verdict     bool         // adds VerdictField
	// Subject, if not "", is put before the Subject of fails that are delivered.
	Subject string
}

// Kind is what an Edit does.
type Kind string

// The kinds of edits.
const (
	Quarantine Kind = "quarantine"  // hold the message; Value is the reason
	Change     Kind = "change"      // give the Index-th field called Name the value Value
	Delete     Kind = "delete"      // delete the Index-th field called Name
	DeleteMany Kind = "delete_many" // delete those of the first Index fields called Name that are not Kept
	Insert     Kind = "insert"      // put the field on top of all others
)

// Edit is one change to a message. Edits are applied in the order in which they
// are listed: the indices count the fields of one name from 1, as they came.
type Edit struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name,omitempty"`
	Index int    `json:"index,omitempty"` // among the fields of that name, from 1
	Value string `json:"value,omitempty"`
	// Forged says of a deletion that what goes holds a result in our name.
	Forged bool `json:"forged,omitempty"`
	// Kept are the fields that DeleteMany leaves.
	Kept *Kept `json:"-"`
}

// Deleted returns how many fields DeleteMany deletes.
func (e *Edit) Deleted() int {
	n := 0
	for i := range e.Index {
		if e.Kept.Goes(i + 1) {
			n++
		}
	}
	return n
}

// usualEdits is how many edits an ordinary message gets at most.
const usualEdits = 4

// Writer makes the edits of one message after the other. The edits it returns
// belong to the caller; what it needs to write them is used again for the next
// message. A connection has one for all its messages.
type Writer struct {
	edits []Edit // of the message at hand, nil between two
	// The properties of all results share one slice, which saves an allocation
	// for each.
	results    []authres.Result
	properties []authres.Property
	text       []byte // a field's
}

// Edits returns what is done to a message that was evaluated: none to one that is
// refused or put off.
func (l *Writer) Edits(s *Settings, id *Identity, h message.Header, e *msgauth.Evaluation, v *policy.Verdict) []Edit {
	switch v.Applied {
	case policy.Reject, policy.TempFail:
		return nil
	}
	l.edits = make([]Edit, 0, usualEdits)
	if v.Applied == policy.Quarantine {
		l.edits = append(l.edits, Edit{Kind: Quarantine, Value: string(v.Reason) + " " + v.ID})
	}
	word, subject := Word(e, *v), ""
	if s.Subject != "" && v.Enforced && v.Consent.Out == 0 && getsStamp(word, e, *v) && !l.stampSubject(h, s.Subject) {
		subject = encodeStamp(s.Subject)
	}
	l.removeForged(id.Ours, h)
	if s.ReceivedSPF {
		l.insert(authres.ReceivedSPFName, receivedSPF(s.MailFrom, id.ID, e))
	}
	if subject != "" {
		l.insert("Subject", subject)
	}
	if s.Verdict {
		l.insert(VerdictField, word)
	}
	l.insert(authres.FieldName, l.format(s, id.ID, e, *v))
	return l.take()
}

// Clean returns the edits that take out what was forged in our name, and nothing
// else.
func (l *Writer) Clean(id *Identity, h message.Header) []Edit {
	l.removeForged(id.Ours, h)
	return l.take()
}

// NotEvaluated returns what is done to a message of which only the outline of its
// header is known: what was forged goes, and the label says why there are no
// results.
func (l *Writer) NotEvaluated(id *Identity, o *Outline, why string) []Edit {
	o.remove(l)
	none := authres.Field{AuthServID: id.ID}
	l.insert(authres.FieldName, none.Format()+" (not evaluated: "+why+")")
	return l.take()
}

// Text returns the Authentication-Results field of a message in the name of id.
func Text(s *Settings, id string, e *msgauth.Evaluation, v policy.Verdict) string {
	return new(Writer).format(s, id, e, v)
}

// take hands the edits over to the caller.
func (l *Writer) take() []Edit {
	edits := l.edits
	l.edits = nil
	return edits
}

func (l *Writer) insert(name, value string) {
	l.edits = append(l.edits, Edit{Kind: Insert, Name: name, Value: value})
}

// format writes the field.
func (l *Writer) format(s *Settings, id string, e *msgauth.Evaluation, v policy.Verdict) string {
	defer l.shrink()
	l.field(s, id, e, v)
	return string(l.text)
}

// shrink lets go of what a sender wrote into the results, and of room for many
// signatures.
func (l *Writer) shrink() {
	const kept, keptText = 4, 2 << 10 // signatures, octets
	if cap(l.properties) > otherProperties+kept*signatureProperties || cap(l.text) > keptText {
		l.results, l.properties, l.text = nil, nil, nil
	}
	clear(l.results)
	clear(l.properties)
}
