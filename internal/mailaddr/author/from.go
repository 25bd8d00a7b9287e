package author

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
)

// Bounds on a From field, which a stranger writes.
const (
	// MaxFromLen is in octets. MTAs cut a longer field for their milters (Postfix at
	// 60,000 octets), and the author might be in the part that is missing.
	MaxFromLen = 32 << 10
	// MaxMailboxes bounds the authors of one message. Genuine messages have dozens at
	// most, attacks on verifiers have thousands.
	MaxMailboxes = 100
	// MaxCommentDepth bounds nested comments. Mail clients never nest them.
	MaxCommentDepth = 10
)

// Kind says why a From field does not name one author domain.
type Kind string

// The kinds of refusal. The package documentation lists the fields of each kind.
const (
	KindMissing         Kind = "missing"
	KindMultipleFields  Kind = "multiple_fields"
	KindMultipleDomains Kind = "multiple_domains"
	KindNoAddress       Kind = "no_address"
	KindMalformed       Kind = "malformed"
	KindAmbiguous       Kind = "ambiguous"
	KindTooLarge        Kind = "too_large"
)

// Error is a refusal of Parse. Its text holds nothing that the sender wrote, so an SMTP
// reply may show it.
type Error struct {
	Kind   Kind   `json:"kind"`
	Offset int    `json:"offset"` // octets from the start of the field's value
	Detail string `json:"detail"`
}

// Error implements error.
func (e *Error) Error() string { return "author: " + e.Text() }

// Text returns the error for a person to read, without the name of the package.
func (e *Error) Text() string {
	return fmt.Sprintf("From field %s at octet %d: %s", strings.ReplaceAll(string(e.Kind), "_", " "), e.Offset, e.Detail)
}

// Mailbox is one author (RFC 5322 §3.4).
type Mailbox struct {
	// DisplayName is the phrase, or the comment of an old-style address. Encoded words
	// are decoded if their charset is known. It is valid UTF-8, but otherwise as the
	// sender wrote it: it may hold control characters and marks of direction.
	DisplayName string `json:"display_name,omitempty"`
	// Local is the local part without quotes.
	Local string `json:"local"`
	// Domain is never empty.
	Domain dns.Name `json:"domain"`
}

// String returns the address in the form of [mailaddr.Path.String], without the display
// name.
func (m Mailbox) String() string { return mailaddr.Path{Local: m.Local, Domain: m.Domain}.String() }

// From is what a message says of its authors.
type From struct {
	Mailboxes []Mailbox `json:"mailboxes,omitempty"`
	// AuthorDomain is the one domain that all mailboxes share (RFC 9989 §3.2.2). It is
	// "" if Parse returned an error.
	AuthorDomain dns.Name `json:"author_domain,omitempty"`
	// Domains are the distinct domains of the mailboxes, in the order of the field.
	Domains []dns.Name `json:"domains,omitempty"`
	// Notes are remarks on a field that names an author.
	Notes []Note `json:"notes,omitempty"`
}

// Note is a remark on a field that names an author.
type Note string

// The notes.
const (
	// NoteOtherAddress: a display name, or a comment beside an address in angle
	// brackets, shows an address of another domain among other words.
	NoteOtherAddress Note = "other_address"
	// NoteOtherName: a display name is nothing but an address of another domain,
	// or holds one in encoded angle brackets.
	NoteOtherName Note = "other_name"
	// NoteSlip: readers split the field in different ways, but all see one domain.
	NoteSlip Note = "slip"
)

// Text returns the note for a person to read.
func (n Note) Text() string {
	switch n {
	case NoteOtherAddress:
		return "From shows an address of another domain"
	case NoteOtherName:
		return "display name is an address of another domain"
	case NoteSlip:
		return "readers split From differently, but see one domain"
	}
	return string(n)
}

// Parse reads the values of all From fields of a message, each as in message.Field: raw
// octets after the colon, folds as CRLF. An error is always a [*Error]. With an error
// of KindMultipleDomains, From lists every mailbox, for a receiver that goes on with
// each of them (RFC 9989 §11.5). With any other error it is empty.
func Parse(values []string) (From, error) {
	switch {
	case len(values) == 0:
		return From{}, &Error{KindMissing, 0, "there is no From field"}
	case len(values) > 1: // RFC 5322 §3.6: exactly one
		return From{}, &Error{KindMultipleFields, 0, fmt.Sprintf("there are %d From fields", len(values))}
	case len(values[0]) > MaxFromLen:
		return From{}, &Error{KindTooLarge, MaxFromLen, "the field is longer than 32768 octets"}
	}
	p, err := parse(values[0])
	if err != nil {
		return From{}, err
	}
	from := From{Mailboxes: p.boxes}
	for _, m := range p.boxes {
		if !slices.Contains(from.Domains, m.Domain) { // at most MaxMailboxes
			from.Domains = append(from.Domains, m.Domain)
		}
	}
	if len(from.Domains) > 1 {
		return from, &Error{KindMultipleDomains, p.secondDomain(), fmt.Sprintf("the authors are of %d domains", len(from.Domains))}
	}
	from.AuthorDomain = from.Domains[0]
	from.Notes = p.notes()
	return from, nil
}

// parse reads the value of one field, in this order: as RFC 5322 defines it, with
// tolerance; as unencoded double-byte text; and as a slip.
func parse(s string) (*parser, error) {
	p, err := parseList(s)
	if err == nil {
		return p, nil
	}
	return reread(s, err)
}

// reread reads a field as a slip, because parseList refused it with err.
func reread(s string, err error) (*parser, error) {
	var refused *Error
	if !errors.As(err, &refused) || refused.Kind == KindTooLarge {
		return nil, err
	}
	if p := readSlip(s); p != nil {
		return p, nil
	}
	return nil, cause(s, refused)
}

// parseList reads a mailbox-list.
func parseList(s string) (*parser, error) {
	if strings.IndexByte(s, escape) >= 0 {
		t, err := maskISO2022(s)
		if err != nil {
			return nil, err
		}
		return t.parse()
	}
	p, err := parseOctets(s)
	if err != nil && !utf8.ValidString(s) {
		t := mask8Bit(s)
		if again, err := t.parse(); err == nil {
			return again, nil
		}
	}
	return p, err
}

// checkOctets refuses octets that no header field may hold (RFC 5322 §2.2). A client
// that stops at a NUL, or takes a CR alone for the end of the line, would see another
// author than Parse does. The ESC of unencoded ISO-2022-JP is masked before.
func checkOctets(s string) error {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 0:
			return &Error{KindMalformed, i, "NUL octet"}
		case c == '\r':
			if i+2 >= len(s) || s[i+1] != '\n' || !isWSP(s[i+2]) {
				return &Error{KindMalformed, i, "CR that is not part of a fold"}
			}
			i++
		case c == '\n':
			return &Error{KindMalformed, i, "bare LF"}
		case c < ' ' && c != '\t', c == 0x7f:
			return &Error{KindMalformed, i, "control octet"}
		}
	}
	return nil
}
