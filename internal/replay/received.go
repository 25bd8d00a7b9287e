package replay

import (
	"errors"
	"net/mail"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/message"
)

// Received is what a Received field says, as Postfix and Sendmail write it
// (RFC 5321 §4.4):
//
//	from HELO (NAME [ADDRESS]) (...) by HOST (...) with PROTOCOL id ID for <RCPT>; DATE
//
// Everything but ADDRESS may be absent; without "from" a message was submitted
// on the host itself.
type Received struct {
	HELO string
	// Name is the client's reverse name as the host found it, "" if it has
	// none.
	Name    string
	Address netip.Addr // of the client; invalid without "from", or if it is not given
	By      dns.Name   // the host that wrote the field
	With    string     // protocol, in upper case
	ID      string     // queue id
	For     string     // the only recipient, without angle brackets
	// EnvelopeFrom is that of a comment "(envelope-from <ADDRESS>)".
	EnvelopeFrom    string
	HasEnvelopeFrom bool
	Date            time.Time // zero if it cannot be read
}

// maxReceived bounds a field that is read, in octets: MTAs write under 1,000.
const maxReceived = 16 << 10

var (
	errReceivedLong = errors.New("received field over 16 KiB")
	errReceived     = errors.New("received field is not as Postfix and Sendmail write it")
)

// authenticated reports a protocol of a client that logged in (RFC 3848, RFC
// 6531 §4.3).
func (r Received) authenticated() bool {
	switch r.With {
	case "ESMTPA", "ESMTPSA", "LMTPA", "LMTPSA", "UTF8SMTPA", "UTF8SMTPSA":
		return true
	}
	return false
}

// ParseReceived reads the value of a Received field. It never takes a word of
// the client's for one of the host's: what is not in its place is an error.
func ParseReceived(value string) (Received, error) {
	var r Received
	if len(value) > maxReceived {
		return r, errReceivedLong
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
			return r, errReceived
		}
	} else if !strings.EqualFold(word, "by") && word != "(" {
		return r, errReceived
	} else if word == "(" { // Sendmail: (from user@localhost) by HOST
		if _, ok := s.comment(); !ok || !strings.EqualFold(s.word(), "by") {
			return r, errReceived
		}
	}
	host := s.word()
	by, err := dns.ParseName(host)
	if err != nil || by == "" || strings.HasPrefix(host, "(") {
		return r, errReceived
	}
	r.By = by
	return r, r.clauses(&s)
}

// from reads HELO and the comment after it, and skips those about TLS.
func (r *Received) from(s *scanner) error {
	r.HELO = s.word()
	if r.HELO == "" || r.HELO == "(" {
		return errReceived
	}
	for first := true; s.peek() == '('; first = false {
		s.word()
		text, ok := s.comment()
		if !ok {
			return errReceived
		}
		if first && !r.client(text) {
			return errReceived
		}
	}
	return nil
}

// client reads "NAME [ADDRESS]", "user@NAME [ADDRESS] (may be forged)" and
// "[ADDRESS]". A comment without brackets names no client, nor does Cyrus' of
// LMTP, "[unix socket]". What else is in brackets and no address is false: were
// the field taken for one of a move within the host, the client's own fields
// below it would be believed.
func (r *Received) client(comment string) bool {
	name, rest, ok := strings.Cut(comment, "[")
	if !ok || comment == "[unix socket]" {
		return true
	}
	literal, after, ok := strings.Cut(rest, "]")
	after = strings.TrimSpace(after)
	name = strings.TrimSpace(name)
	if !ok || strings.ContainsAny(name, " \t()[]") || after != "" && !strings.HasPrefix(after, "(") && !strings.HasPrefix(after, ":") {
		return false
	}
	if len(literal) > len("IPv6:") && strings.EqualFold(literal[:len("IPv6:")], "IPv6:") {
		literal = literal[len("IPv6:"):]
	}
	addr, err := netip.ParseAddr(literal)
	if err != nil || addr.Zone() != "" {
		return false
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 { // RFC 1413's answer
		name = name[i+1:]
	}
	if name != "unknown" && !strings.Contains(after, "may be forged") {
		r.Name = name
	}
	r.Address = addr.Unmap()
	return true
}

// clauses reads what follows the host's name.
func (r *Received) clauses(s *scanner) error {
	for {
		switch word := s.word(); strings.ToLower(word) {
		case "":
			return nil
		case "(":
			text, ok := s.comment()
			if !ok {
				return errReceived
			}
			if from, ok := strings.CutPrefix(text, "envelope-from "); ok && !r.HasEnvelopeFrom {
				r.EnvelopeFrom, r.HasEnvelopeFrom = unbracket(from), true
			}
		case "with":
			r.With = strings.ToUpper(s.value())
		case "id":
			r.ID = s.value()
		case "for":
			r.For = unbracket(s.value())
		}
	}
}

func unbracket(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") && len(s) > 1 {
		return s[1 : len(s)-1]
	}
	return s
}

// scanner takes words off a field's text.
type scanner struct{ rest string }

func (s *scanner) skipSpace() { s.rest = strings.TrimLeft(s.rest, " \t\r\n") }

// peek returns the next octet after white space, 0 at the end.
func (s *scanner) peek() byte {
	s.skipSpace()
	if s.rest == "" {
		return 0
	}
	return s.rest[0]
}

// word returns what comes before the next white space or comment, "(" where a
// comment begins, and "" at the end.
func (s *scanner) word() string {
	if s.peek() == '(' {
		s.rest = s.rest[1:]
		return "("
	}
	n := strings.IndexAny(s.rest, " \t\r\n(")
	if n < 0 {
		n = len(s.rest)
	}
	word := s.rest[:n]
	s.rest = s.rest[n:]
	return word
}

// value is a word before a date that could not be read.
func (s *scanner) value() string { return strings.TrimSuffix(s.word(), ";") }

// comment returns the text up to the ")" that ends the comment begun, comments
// within included; false if none does.
func (s *scanner) comment() (string, bool) {
	depth := 1
	for i := 0; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				text := s.rest[:i]
				s.rest = s.rest[i+1:]
				return text, true
			}
		}
	}
	return "", false
}
