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

// Bounds on what a stranger writes into a From field.
const (
	// MaxFromLen is in octets. MTAs cut a field for their milters (Postfix at
	// 60,000): of a longer one the author might be in the part not seen.
	MaxFromLen = 32 << 10
	// MaxMailboxes bounds the authors of one message; people sign in dozens,
	// attacks on verifiers in thousands.
	MaxMailboxes = 100
	// MaxCommentDepth bounds nested comments; clients never nest any.
	MaxCommentDepth = 10
)

// Kind says why a From field names no single author domain.
type Kind string

// The kinds of refusal; the package documentation lists what falls under each.
const (
	KindMissing         Kind = "missing"
	KindMultipleFields  Kind = "multiple_fields"
	KindMultipleDomains Kind = "multiple_domains"
	KindNoAddress       Kind = "no_address"
	KindMalformed       Kind = "malformed"
	KindAmbiguous       Kind = "ambiguous"
	KindTooLarge        Kind = "too_large"
)

// Error is a refusal of Parse. Its text holds nothing the sender
// wrote, so it may be shown in an SMTP reply.
type Error struct {
	Kind   Kind   `json:"kind"`
	Offset int    `json:"offset"` // octets from the start of the field's value
	Detail string `json:"detail"`
}

// Error implements error.
func (e *Error) Error() string { return "author: " + e.Text() }

// Text says the error without the package, for a person to read.
func (e *Error) Text() string {
	return fmt.Sprintf("From field %s at octet %d: %s", strings.ReplaceAll(string(e.Kind), "_", " "), e.Offset, e.Detail)
}

// Mailbox is one author (RFC 5322 §3.4).
type Mailbox struct {
	// DisplayName is the phrase, or the comment of an old-style address, with
	// encoded words decoded where their charset is known; always valid UTF-8,
	// otherwise exactly as hostile as the sender made it.
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
	// AuthorDomain is the one domain all mailboxes share (RFC 9989 §3.2.2);
	// "" beside an error.
	AuthorDomain dns.Name `json:"author_domain,omitempty"`
	// Domains are the distinct domains in order of appearance.
	Domains []dns.Name `json:"domains,omitempty"`
	// Notes are what a reader should know of a field that names an author.
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
	// NoteSlip: readers split the field differently, but see one domain.
	NoteSlip Note = "slip"
)

// Text says the note in words of ours.
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

// Parse reads the values of all From fields of a message, each as in
// message.Field: raw octets after the colon, folds as CRLF. A non-nil
// error is a [*Error]; beside KindMultipleDomains the From lists every
// mailbox, for a receiver that goes on with each (RFC 9989 §11.5), beside any
// other kind it is empty.
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

// parse reads one field's value in every way it has to be read: as RFC 5322
// has it, generously; as unencoded double-byte text; and as a slip.
func parse(s string) (*parser, error) {
	p, err := parseList(s)
	if err == nil {
		return p, nil
	}
	return reread(s, err)
}

// reread reads as a slip what is not a mailbox-list.
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

// checkOctets refuses what no header field may hold (RFC 5322 §2.2): where a
// client stops at NUL, or takes a lone CR for the end of the line, it sees
// another author than we do. ESC is masked
// where it belongs to unencoded ISO-2022-JP.
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
