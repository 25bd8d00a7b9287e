// Package label makes the list of edits for a message on which a decision was made. The
// caller applies the list; the package itself changes nothing.
//
// The edits insert our own header fields. One of them is the label: the
// Authentication-Results field with our results. The edits also delete fields in our name,
// that is, fields from outside that claim to be written by this host. A result from
// outside in our name is also called forged.
package label

import (
	"sekimori/internal/authres"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Settings say which fields are written into a message, and how. The zero value of Style
// means StyleOwn, and the zero value of MailFrom means MailFromDomain.
type Settings struct {
	Names
	Style       Style        // how the dmarc result is written
	MailFrom    ShowMailFrom // how much of the envelope sender our fields show
	ReceivedSPF bool         // whether a Received-SPF field is inserted
	Verdict     bool         // whether a field named VerdictField is inserted
	// Mark says which fields hand on the author's mark. The zero value means both.
	Mark MarkFields
	// Subject is the stamp, a text such as "[SPOOF?]". If it is not "", it is put before
	// the Subject of a delivered message that getsStamp selects.
	Subject string
}

// Kind is what an Edit does.
type Kind string

// The kinds of edits.
const (
	Quarantine Kind = "quarantine"  // hold the message in the MTA's quarantine; Value is the reason
	Change     Kind = "change"      // replace the value of the Index-th field called Name by Value
	Delete     Kind = "delete"      // delete the Index-th field called Name
	DeleteMany Kind = "delete_many" // of the first Index fields called Name, delete those that Kept does not list
	Insert     Kind = "insert"      // insert the field above all other fields and those inserted before
)

// Edit is one change to a message. A list of edits is applied in its order.
type Edit struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name,omitempty"`
	Index int    `json:"index,omitempty"` // 1 is the first field called Name in the message as it came; see Kind
	Value string `json:"value,omitempty"`
	// Forged says that this edit deletes at least one field that holds a result in our
	// name.
	Forged bool `json:"forged,omitempty"`
	// Kept lists the fields that DeleteMany does not delete.
	Kept *Kept `json:"-"`
}

// Deleted returns how many fields an edit of kind DeleteMany deletes.
func (e *Edit) Deleted() int {
	n := 0
	for i := range e.Index {
		if e.Kept.Goes(i + 1) {
			n++
		}
	}
	return n
}

// usualEdits is the first capacity of a list of edits. Most messages have fewer edits.
const usualEdits = 4

// Writer makes the edits for the messages of one connection, one message after the other.
// The returned list of edits belongs to the caller. The other memory of the Writer is used
// again for the next message.
type Writer struct {
	edits []Edit // edits for the current message; nil between two messages
	// The results and properties of the field. The properties of all results are stored in
	// one slice, `properties`, which saves one allocation for each result.
	results    []authres.Result
	properties []authres.Property
	text       []byte // the value of the Authentication-Results field
}

// Edits returns the edits of a message that was evaluated. There are none for a message
// that is refused, permanently (policy.Reject) or temporarily (policy.TempFail).
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
	mark := policy.Mark(e, v)
	if mark != nil {
		l.insert(authres.FieldName, markText(s, id.ID, mark))
	}
	l.insert(authres.FieldName, l.format(s, id.ID, e, *v))
	l.insertMark(s, mark)
	return l.take()
}

// Clean returns only the edits that delete reserved fields (see reservedFields).
func (l *Writer) Clean(id *Identity, h message.Header) []Edit {
	l.removeForged(id.Ours, h)
	return l.take()
}

// NotEvaluated returns the edits of a message whose header was kept only as an outline. The
// edits delete reserved fields (see reservedFields) and insert an Authentication-Results
// field that says why there are no results.
func (l *Writer) NotEvaluated(id *Identity, o *Outline, why string) []Edit {
	o.remove(l)
	none := authres.Field{AuthServID: id.ID}
	l.insert(authres.FieldName, none.Format()+" (not evaluated: "+why+")")
	return l.take()
}

// Text returns the value of the Authentication-Results field of a message. id is the
// authserv-id.
func Text(s *Settings, id string, e *msgauth.Evaluation, v policy.Verdict) string {
	return new(Writer).format(s, id, e, v)
}

// take returns the edits and removes them from the Writer.
func (l *Writer) take() []Edit {
	edits := l.edits
	l.edits = nil
	return edits
}

func (l *Writer) insert(name, value string) {
	l.edits = append(l.edits, Edit{Kind: Insert, Name: name, Value: value})
}

// format returns the value of the Authentication-Results field. id is the authserv-id.
func (l *Writer) format(s *Settings, id string, e *msgauth.Evaluation, v policy.Verdict) string {
	defer l.shrink()
	l.field(s, id, e, v)
	return string(l.text)
}

// shrink clears the results and properties that are used again, so that they hold no text
// of the sender. It frees slices that have grown for a message with many signatures.
func (l *Writer) shrink() {
	const kept, keptText = 4, 2 << 10 // number of signatures, octets of text
	if cap(l.properties) > otherProperties+kept*signatureProperties || cap(l.text) > keptText {
		l.results, l.properties, l.text = nil, nil, nil
	}
	clear(l.results)
	clear(l.properties)
}
