// Package received reads what the hosts on a message's way wrote on top of it
// (the trace fields of RFC 5321 §4.4): from which client a stored message came,
// when, and for whom. Everything below the first host that is not one's own may
// have been written by anybody; [Origin] says where that border is.
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

// Field is what a Received field says:
//
//	from HELO (CLIENT) (...) by HOST (...) with PROTOCOL id ID for <RCPT>; DATE
//
// Everything but HOST may be absent. How CLIENT is written differs between
// MTAs, see [Field.comments].
type Field struct {
	// From reports whether the field names a client at all: without "from" a
	// message was submitted on the host itself.
	From bool
	HELO string
	// Name is the client's reverse name as the host found it, "" if it has
	// none.
	Name    string
	Address netip.Addr // of the client; invalid without From, or where none is given
	By      dns.Name   // the host that wrote the field
	With    string     // protocol, in upper case
	ID      string     // queue id
	For     string     // the only recipient, without angle brackets
	// EnvelopeFrom is that of a comment "(envelope-from <ADDRESS>)".
	EnvelopeFrom    string
	HasEnvelopeFrom bool
	Date            time.Time // zero if it cannot be read

	login bool // a comment says that the client logged in
	local bool // a comment says that the client is on the host itself
	// commented: there are comments about the client.
	commented bool
}

// maxReceived bounds a field that is read, in octets: MTAs write under 1,000.
const maxReceived = 16 << 10

var (
	errLong       = errors.New("received field over 16 KiB")
	errForm       = errors.New("received field is not in a form that is known")
	errUnreadable = errors.New("the client is unreadable: the received field names one in a form that is not known")
)

// Authenticated reports a client that logged in: by the protocol (RFC 3848, RFC
// 6531 §4.3; Exchange writes MAPI for its users' submissions), or by a comment
// as CommuniGate writes it.
func (r Field) Authenticated() bool {
	switch r.With {
	case "ESMTPA", "ESMTPSA", "LMTPA", "LMTPSA", "UTF8SMTPA", "UTF8SMTPSA", "MAPI":
		return true
	}
	return r.login
}

// within reports a field of a move within the host, which has no client's
// address. Where a client is named and nothing says that it is the host itself,
// the address was written in a form that is not known.
func (r Field) within() bool {
	switch {
	case r.Address.IsValid():
		return false
	case !r.From, r.local:
		return true
	case strings.HasPrefix(r.With, "LMTP"), strings.HasPrefix(r.With, "UTF8LMTP"), r.With == "LOCAL", r.With == "MAPI":
		return true
	}
	name, err := dns.ParseName(r.HELO)
	return err == nil && name != "" && (name == r.By || name == "localhost")
}

// Parse reads the value of a Received field. It never takes a word of the
// client's for one of the host's: what is not in its place is an error.
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
	} else if word == "(" { // Sendmail: (from user@localhost) by HOST
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

// from reads the word after "from" and the comments behind it.
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
	r.commented = len(comments) > 0
	return r.comments(comments)
}

// clauses reads what follows the host's name.
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
			if addr, ok := literal(r.HELO); ok && strings.HasPrefix(text, "Exim ") && !r.commented {
				r.Address = addr // of a client without a name that said no HELO, or the same
			}
		case "envelope-from": // Haraka writes no comment
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

// envelopeFrom keeps the first.
func (r *Field) envelopeFrom(s string) {
	if !r.HasEnvelopeFrom {
		r.EnvelopeFrom, r.HasEnvelopeFrom = unbracket(s), true
	}
}

func unbracket(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") && len(s) > 1 {
		return s[1 : len(s)-1]
	}
	return s
}
