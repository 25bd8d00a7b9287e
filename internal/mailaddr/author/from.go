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

// Limits for a From field, because anybody can write one.
const (
	// MaxFromLen is the longest field that Parse accepts, in octets. MTAs cut a very long field
	// before they give it to a milter (Postfix at 60,000 octets), and the cut part might name the
	// author.
	MaxFromLen = 32 << 10
	// MaxMailboxes limits the authors of one message. Genuine messages have a few dozen at most.
	// Attacks on verifiers have thousands.
	MaxMailboxes = 100
	// MaxCommentDepth limits how deep comments may be nested. Mail clients do not nest comments.
	MaxCommentDepth = 10
)

// Kind says why Parse refused a From field.
type Kind string

// The kinds of refusal. The package documentation says which fields each kind stands for.
const (
	KindMissing         Kind = "missing"
	KindMultipleFields  Kind = "multiple_fields"
	KindMultipleDomains Kind = "multiple_domains"
	KindNoAddress       Kind = "no_address"
	KindMalformed       Kind = "malformed"
	KindAmbiguous       Kind = "ambiguous"
	KindTooLarge        Kind = "too_large"
)

// Error is the error with which Parse refuses a field. Its text has no text of the sender, so an
// SMTP reply may show it.
type Error struct {
	Kind   Kind   `json:"kind"`
	Offset int    `json:"offset"` // octets from the start of the field's value
	Detail string `json:"detail"`
}

// Error implements error.
func (e *Error) Error() string { return "author: " + e.Text() }

// Text returns the error for a person, without the name of the package.
func (e *Error) Text() string {
	return fmt.Sprintf("From field %s at octet %d: %s", strings.ReplaceAll(string(e.Kind), "_", " "), e.Offset, e.Detail)
}

// Mailbox is one author (RFC 5322 §3.4).
type Mailbox struct {
	// DisplayName is the phrase before the address, or the comment after an address without angle
	// brackets. Encoded words are decoded if their charset is known. DisplayName is valid UTF-8,
	// but otherwise as the sender wrote it: it may hold control characters and marks that turn the
	// direction of text.
	DisplayName string `json:"display_name,omitempty"`
	// Local is the local part without quotes.
	Local string `json:"local"`
	// Domain is never empty.
	Domain dns.Name `json:"domain"`
}

// String returns the address without the display name, in the form of [mailaddr.Path.String].
func (m Mailbox) String() string { return mailaddr.Path{Local: m.Local, Domain: m.Domain}.String() }

// From is what the From field of a message says about its authors.
type From struct {
	Mailboxes []Mailbox `json:"mailboxes,omitempty"`
	// AuthorDomain is the one domain that all mailboxes have (RFC 9989 §3.2.2). It is "" if Parse
	// returned an error.
	AuthorDomain dns.Name `json:"author_domain,omitempty"`
	// Domains are the different domains of the mailboxes, in the order of the field.
	Domains []dns.Name `json:"domains,omitempty"`
	// Notes are remarks on a field that Parse accepts.
	Notes []Note `json:"notes,omitempty"`
}

// Note is a remark on a field that Parse accepts although it might mislead a person.
type Note string

// The values of Note.
const (
	// NoteOtherAddress: a display name has an address of another domain among other words. Or the
	// comment of a mailbox with angle brackets shows an address of another domain.
	NoteOtherAddress Note = "other_address"
	// NoteOtherName: a display name consists only of an address of another domain, or it holds such
	// an address in encoded angle brackets.
	NoteOtherName Note = "other_name"
	// NoteSlip: mail programs split the field in different ways, but all of them see the same
	// domain.
	NoteSlip Note = "slip"
)

// Text returns the note as a text for a person.
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

// Parse parses the From field of a message. values has the values of all From fields, each as in
// message.Field: the raw octets after the colon, with folds as CRLF. Every error is a [*Error]. If
// it is of KindMultipleDomains, From lists every mailbox, because a receiver may go on with each of
// them (RFC 9989 §11.5). With any other error, From is empty.
func Parse(values []string) (From, error) {
	switch {
	case len(values) == 0:
		return From{}, &Error{KindMissing, 0, "there is no From field"}
	case len(values) > 1: // RFC 5322 §3.6 requires exactly one From field
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
		if !slices.Contains(from.Domains, m.Domain) { // a linear search, because there are at most MaxMailboxes
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

// parse reads the value of one field. It first reads the field as a mailbox-list, with some
// tolerance. If that fails, it reads the field as a slip.
func parse(s string) (*parser, error) {
	p, err := parseList(s)
	if err == nil {
		return p, nil
	}
	return reread(s, err)
}

// reread reads a field as a slip after parseList has refused it with err.
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

// parseList reads a field as a mailbox-list, which may have unencoded double-byte text.
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

// checkOctets refuses octets that no header field may hold (RFC 5322 §2.2). A client that stops at
// a NUL, or ends a line at a bare CR, would see an author that Parse does not see. If the field has
// unencoded ISO-2022-JP, the caller has already masked its ESC octets.
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
