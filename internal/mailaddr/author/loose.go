package author

import (
	"strings"

	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/encodedword"
)

// Much real mail has display names with commas, colons and semicolons that should have
// been quoted:
//
//	Doe, John (Sales) <j@x.example>     O&#39;Brien <o@x.example>
//	News: today <a@x.example>           Re: Foo [x] <a@x.example>
//	Sarah @ Acme <sarah@acme.example>   @handle <a@x.example>
//
// By RFC 5322, "Doe" is the first member of a list and has no address, and "News:" begins a group
// without an end. Clients differ: Outlook and Apple Mail show all of the text as the name. Others
// show only the part beside the address, or a first author "Doe" without an address, or the raw
// field. But none of them can show another domain if the field has only one.
//
// Such a field is therefore accepted on these conditions. It has exactly one "@", and decoding the
// encoded words adds none. This "@" belongs to an address in angle brackets at the end of the
// field, and the domain of the address is written in ASCII. The field has no backslash, and no
// group that is closed by a semicolon.
//
// As an exception, the name may have further at signs, as in "Sarah @ Acme". Each of them must be
// at the beginning of the name or after white space. No dot, encoded word or special character may
// be between the at sign and the angle bracket. Without a dot, "Acme" is not a domain that somebody
// could own.

// loose describes the text that should have been quoted, in the part of the field that the parser
// has read.
type loose struct {
	at    int      // offset of the first octet that should have been quoted, or -1
	colon bool     // there is a colon, which may begin a group
	bare  bool     // there is an address without angle brackets
	names []string // the parts of the name that are before a comma
	ats   int      // number of at signs that do not belong to an address
}

// note records that the octet at an offset should have been quoted. It keeps the first such offset.
func (l *loose) note(at int) {
	if l.at < 0 {
		l.at = at
	}
}

// textOnly handles an element without an address. The element is part of a display name if the only
// address of the field follows.
func (p *parser) textOnly(e *element) error {
	if len(p.boxes) > 0 {
		return &Error{KindMalformed, e.last.start, "text without an address"}
	}
	p.text.note(e.last.start)
	name, _, _ := decodeWords(e.phrase.String(), "") // checkLoose checks the encoded words
	p.text.names = append(p.text.names, name)
	return nil
}

// colon handles a colon as part of a display name. The colon could also begin a group. RFC 6854
// allows groups in From, but clients do not write them, and many show no author for them.
func (p *parser) colon(e *element, t token) error {
	p.text.colon = true
	p.text.note(t.start)
	return e.word(token{kind: tokSpecial, start: t.start, end: t.end, text: ":"})
}

// semicolon handles a semicolon as part of a display name. After a colon, a semicolon would end a
// group.
func (p *parser) semicolon(e *element, t token) error {
	if p.text.colon {
		return &Error{KindAmbiguous, t.start, "group syntax"}
	}
	p.text.note(t.start)
	return e.word(token{kind: tokSpecial, start: t.start, end: t.end, text: ";"})
}

// handle reports whether t, an "@", is text in a display name, as in "@handle", and cannot be part
// of an address. It reads no further than the next "@".
func (p *parser) handle(e *element, t token) bool {
	if e.words > 0 && !t.spaced {
		return false
	}
	i := p.pos
	for ; i < len(p.s) && p.s[i] != '<'; i++ {
		if c := p.s[i]; c == '.' || c == '?' || !mailaddr.IsAtom(c) && !isFWS(c) {
			return false
		}
	}
	if i == len(p.s) || i == p.pos || strings.ContainsAny(p.s[p.pos:i], "\u3002\uff0e\uff61\ufe52") { // full stops other than the ASCII dot
		return false
	}
	p.text.note(t.start)
	p.text.ats++
	return true
}

// checkLoose refuses a field that does not meet the conditions at the top of this file.
func (p *parser) checkLoose() error {
	refused := &Error{KindMalformed, p.text.at, "text without an address"}
	if p.text.colon {
		refused = &Error{KindAmbiguous, p.text.at, "group syntax"}
	}
	if len(p.boxes) != 1 || p.text.bare || strings.IndexByte(p.s, '\\') >= 0 || !asciiDomain(p.s) {
		return refused
	}
	raw := strings.NewReplacer("\r\n", "", "\t", " ").Replace(p.s)
	// Some clients remove comments and quotes before they decode.
	for _, s := range []string{raw, stripMarks(raw)} {
		if !oneAddress(s, 1+p.text.ats) {
			return refused
		}
	}
	return nil
}

// asciiDomain reports whether the domain after the last "@" is written in ASCII. Some mail programs
// search the field for a pattern instead of parsing it. They would stop at the first octet beyond
// ASCII and see another domain.
func asciiDomain(s string) bool {
	for _, c := range []byte(s[strings.LastIndexByte(s, '@')+1:]) {
		switch {
		case c > '~':
			return false
		case c == '>', c == '(', isFWS(c):
			return true
		}
	}
	return true
}

// oneAddress reports whether s has at most the given number of "@" and at most one pair of angle
// brackets. It checks s as it is, and with its encoded words decoded.
func oneAddress(s string, ats int) bool {
	refuse := func(text string) (refusal string) {
		if looksLikeAddress(text) || strings.Count(text, "@") > ats || strings.Count(text, "<") > 1 || strings.Count(text, ">") > 1 {
			return hiddenAddress
		}
		return ""
	}
	return refuse(s) == "" && encodedword.Decodings(s, true, func(scan encodedword.Decoded) string { return refuse(scan.Judged) }) == ""
}

// stripMarks removes comments and quotes.
func stripMarks(s string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0 && c != '"':
			b.WriteByte(c)
		}
	}
	return b.String()
}
