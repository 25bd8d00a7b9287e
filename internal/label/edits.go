// Package label makes the edits of a message that has been decided on: our own fields
// are inserted, and fields that strangers wrote in our name are deleted. The package
// is pure: it makes a list of edits from an Evaluation, a Verdict and a Header, and the
// caller applies the list.
package label

import (
	"sekimori/internal/authres"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Settings say how messages are labelled. The zero values of Style and MailFrom mean
// StyleOwn and MailFromDomain.
type Settings struct {
	Names
	Style       Style        // how the dmarc result is spelled
	MailFrom    ShowMailFrom // how much of the envelope sender is shown
	ReceivedSPF bool         // whether Received-SPF is inserted
	Verdict     bool         // whether VerdictField is inserted
	// Subject, if not "", is put before the Subject of a message that fails and is
	// delivered.
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

// Edit is one change to a message. Edits are applied in the order of their list. An
// index counts the fields of one name from 1, in the message as it came.
type Edit struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name,omitempty"`
	Index int    `json:"index,omitempty"` // among the fields of that name, from 1
	Value string `json:"value,omitempty"`
	// Forged says of a deletion that a deleted field holds a result in our name.
	Forged bool `json:"forged,omitempty"`
	// Kept are the fields that DeleteMany does not delete.
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

// usualEdits is enough for the edits of an ordinary message.
const usualEdits = 4

// Writer makes the edits of the messages of one connection, one message at a time.
// The edits belong to the caller. The other memory is used again for the next message.
type Writer struct {
	edits []Edit // of the current message, nil between two calls
	// The properties of all results share one slice, which saves one allocation for
	// each result.
	results    []authres.Result
	properties []authres.Property
	text       []byte // the field being written
}

// Edits returns the edits of a message that was evaluated. A message that is refused
// or put off gets none.
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

// Clean returns only the edits that delete fields which were forged in our name.
func (l *Writer) Clean(id *Identity, h message.Header) []Edit {
	l.removeForged(id.Ours, h)
	return l.take()
}

// NotEvaluated returns the edits of a message of which only the outline of the header
// is known: they delete forged fields, and the label says why there are no results.
func (l *Writer) NotEvaluated(id *Identity, o *Outline, why string) []Edit {
	o.remove(l)
	none := authres.Field{AuthServID: id.ID}
	l.insert(authres.FieldName, none.Format()+" (not evaluated: "+why+")")
	return l.take()
}

// Text returns the value of the Authentication-Results field of a message, with id as
// the authserv-id.
func Text(s *Settings, id string, e *msgauth.Evaluation, v policy.Verdict) string {
	return new(Writer).format(s, id, e, v)
}

// take returns the edits, which the Writer forgets.
func (l *Writer) take() []Edit {
	edits := l.edits
	l.edits = nil
	return edits
}

func (l *Writer) insert(name, value string) {
	l.edits = append(l.edits, Edit{Kind: Insert, Name: name, Value: value})
}

// format returns the value of the Authentication-Results field.
func (l *Writer) format(s *Settings, id string, e *msgauth.Evaluation, v policy.Verdict) string {
	defer l.shrink()
	l.field(s, id, e, v)
	return string(l.text)
}

// shrink drops references to the sender's text, and frees the memory that a message
// with many signatures took.
func (l *Writer) shrink() {
	const kept, keptText = 4, 2 << 10 // signatures, octets
	if cap(l.properties) > otherProperties+kept*signatureProperties || cap(l.text) > keptText {
		l.results, l.properties, l.text = nil, nil, nil
	}
	clear(l.results)
	clear(l.properties)
}
