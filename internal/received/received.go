// Package received parses the trace fields that hosts put on top of a message on its way (RFC 5321
// §4.4). They say from which client a stored message came, when, and for whom. The site's own hosts
// write the topmost fields. Anybody may have written the fields below those. [Origin] finds the
// host at the border. Its field is the last one that can be believed.
package received

import (
	"errors"
	"net/mail"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/message"
)

// Field is the content of a Received field:
//
//	from HELO (CLIENT) (...) by HOST (...) with PROTOCOL id ID for <RCPT>; DATE
//
// Only HOST is always present. MTAs write CLIENT in different forms; [Field.readClient] lists them.
type Field struct {
	// From says that the field has a "from" and therefore names a client. A field without "from"
	// belongs to a message that was submitted on the host itself.
	From bool
	HELO string
	// Name is the reverse name of the client that the host found, or "" if it found none.
	Name    string
	Address netip.Addr // address of the client; invalid without From, or if the field has no address
	By      dns.Name   // the host that wrote the field
	With    string     // the protocol in upper case
	ID      string     // queue id
	For     string     // the recipient without angle brackets, if there is only one
	// EnvelopeFrom is the ADDRESS in a comment "(envelope-from <ADDRESS>)".
	EnvelopeFrom    string
	HasEnvelopeFrom bool
	Date            time.Time // when the host received the message; zero if the date cannot be parsed

	loggedIn    bool // a comment says that the client logged in
	onHost      bool // a comment says that the client is a program on the host itself
	hasComments bool // the field has comments about the client
}

// maxReceived is the length of the longest field that Parse reads, in octets. MTAs write less than
// 1,000.
const maxReceived = 16 << 10

var (
	errLong       = errors.New("received field over 16 KiB")
	errForm       = errors.New("received field is not in a form that is known")
	errUnreadable = errors.New("the client is unreadable: the received field names it in a form that is not known")
)

// Authenticated reports whether the client logged in. Either the protocol says so (RFC 3848, RFC
// 6531 §4.3), or a comment does, for example that of CommuniGate. The protocol MAPI, which Exchange
// writes, means that a user of Exchange submitted the message.
func (r Field) Authenticated() bool {
	switch r.With {
	case "ESMTPA", "ESMTPSA", "LMTPA", "LMTPSA", "UTF8SMTPA", "UTF8SMTPSA", "MAPI":
		return true
	}
	return r.loggedIn
}

// movedWithinHost reports whether the host wrote the field when it moved the message from one of
// its programs to another. Such a field has no client address. A field may also have no address
// because the form of its client is unknown. Therefore movedWithinHost reports true only if the
// field names no client, or says that the client is on the host itself.
func (r Field) movedWithinHost() bool {
	switch {
	case r.Address.IsValid():
		return false
	case !r.From, r.onHost:
		return true
	case strings.HasPrefix(r.With, "LMTP"), strings.HasPrefix(r.With, "UTF8LMTP"), r.With == "LOCAL", r.With == "MAPI":
		return true
	}
	name, _ := dns.ParseName(r.HELO) // "" if there is an error; By is never ""
	return name == r.By || name == "localhost"
}

// Parse parses the value of a Received field. "from", "by" and the name of the host must be in
// their places. Otherwise Parse returns an error, because the client may have chosen the word that
// is in the place of the host.
func Parse(value string) (Field, error) {
	var r Field
	if len(value) > maxReceived {
		return r, errLong
	}
	text := strings.TrimSpace(message.Unfold(value))
	if i := strings.LastIndexByte(text, ';'); i >= 0 {
		if date, err := mail.ParseDate(strings.TrimSpace(text[i+1:])); err == nil {
			r.Date = date
			text = text[:i]
		}
	}
	s := scanner{rest: text}
	if word := s.word(); strings.EqualFold(word, "from") {
		if err := r.from(&s); err != nil {
			return r, err
		}
		word = s.word()
		if !strings.EqualFold(word, "by") {
			return r, errForm
		}
	} else if !strings.EqualFold(word, "by") && word != "(" {
		return r, errForm
	} else if word == "(" { // Sendmail writes "(from user@localhost) by HOST"
		if _, ok := s.comment(); !ok || !strings.EqualFold(s.word(), "by") {
			return r, errForm
		}
	}
	host := s.word()
	by, err := dns.ParseName(host)
	if err != nil || by == "" || strings.HasPrefix(host, "(") {
		return r, errForm
	}
	r.By = by
	return r, r.clauses(&s)
}

// from reads the word after "from" and the comments after that word.
func (r *Field) from(s *scanner) error {
	r.From = true
	r.HELO = s.word()
	if r.HELO == "" || r.HELO == "(" {
		return errForm
	}
	var comments []string
	for s.peek() == '(' {
		s.word()
		text, ok := s.comment()
		if !ok {
			return errForm
		}
		comments = append(comments, text)
	}
	r.hasComments = len(comments) > 0
	return r.readClient(comments)
}

// clauses reads the part of the field after the name of the host.
func (r *Field) clauses(s *scanner) error {
	for {
		switch word := s.word(); strings.ToLower(word) {
		case "":
			return nil
		case "(":
			text, ok := s.comment()
			if !ok {
				return errForm
			}
			if from, ok := strings.CutPrefix(text, "envelope-from "); ok {
				r.envelopeFrom(from)
			}
			if addr, ok := literal(r.HELO); ok && strings.HasPrefix(text, "Exim ") && !r.hasComments && !r.namesMail() {
				r.Address = addr // Exim: the client has no name, and its HELO was missing or was its address
			}
		case "envelope-from": // Haraka writes envelope-from outside of a comment
			r.envelopeFrom(s.value())
		case "with":
			r.With = strings.ToUpper(s.value())
		case "id":
			r.ID = s.value()
		case "for":
			r.For = unbracket(s.value())
		}
	}
}

// namesMail reports whether the field already had an address of the envelope, which strangers
// choose.
func (r *Field) namesMail() bool { return r.For != "" || r.HasEnvelopeFrom }

// envelopeFrom sets the envelope sender, unless the field had an envelope-from before.
func (r *Field) envelopeFrom(s string) {
	if !r.HasEnvelopeFrom {
		r.EnvelopeFrom, r.HasEnvelopeFrom = unbracket(s), true
	}
}

// unbracket returns s without white space and angle brackets around it.
func unbracket(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") && len(s) > 1 {
		return s[1 : len(s)-1]
	}
	return s
}
