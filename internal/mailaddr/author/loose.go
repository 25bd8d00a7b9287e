package author

import (
	"strings"

	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/encodedword"
)

// Commas, colons and semicolons that should have been quoted stand in the
// display names of much real mail:
//
//	Doe, John (Sales) <j@x.example>     O&#39;Brien <o@x.example>
//	News: today <a@x.example>           Re: Foo [x] <a@x.example>
//	Sarah @ Acme <sarah@acme.example>   @handle <a@x.example>
//
// By RFC 5322 the first is a list whose first member has no address, the third
// a group without an end. Of the clients, some show the whole as the name (as
// Outlook and Apple Mail do), some only the part beside the address, some a first author
// "Doe" without an address, some the raw field; none has another domain to show,
// if there is none in the field. That is the condition: the field has one
// "@", in one address in angle brackets that ends it, and still has one
// when encoded words are decoded; no backslashes; a domain in ASCII; and no
// group is closed.
// Further at signs may stand in the name with white space, or nothing, before
// them and with no dot, encoded word or special character between them and the
// angle bracket: "Acme" is nobody's domain.
type loose struct {
	at    int // where the first such text stands, or -1
	colon bool
	bare  bool // an address without angle brackets was met
	names []string
	ats   int // at signs that belong to no address
}

func (l *loose) note(at int) {
	if l.at < 0 {
		l.at = at
	}
}

// textOnly takes an element that is only text: part of a display name, if the
// one address follows.
func (p *parser) textOnly(e *element) error {
	if len(p.boxes) > 0 {
		return &Error{KindMalformed, e.last.start, "text without an address"}
	}
	p.text.note(e.last.start)
	name, _, _ := decodeWords(e.phrase.String(), "") // judged in checkLoose
	p.text.names = append(p.text.names, name)
	return nil
}

// colon takes a colon for part of a display name. It may begin a group, which
// RFC 6854 allows, no client writes and many show no author for.
func (p *parser) colon(e *element, t token) error {
	p.text.colon = true
	p.text.note(t.start)
	return e.word(token{kind: tokSpecial, start: t.start, end: t.end, text: ":"})
}

func (p *parser) semicolon(e *element, t token) error {
	if p.text.colon {
		return &Error{KindAmbiguous, t.start, "group syntax"}
	}
	p.text.note(t.start)
	return e.word(token{kind: tokSpecial, start: t.start, end: t.end, text: ";"})
}

// handle reports whether the "@" t stands in a display name where nothing makes
// it an address. It reads no further than the next "@".
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
	if i == len(p.s) || i == p.pos || strings.ContainsAny(p.s[p.pos:i], "\u3002\uff0e\uff61\ufe52") { // dots of other scripts
		return false
	}
	p.text.note(t.start)
	p.text.ats++
	return true
}

// checkLoose holds a field with such text to the condition above.
func (p *parser) checkLoose() error {
	refused := &Error{KindMalformed, p.text.at, "text without an address"}
	if p.text.colon {
		refused = &Error{KindAmbiguous, p.text.at, "group syntax"}
	}
	if len(p.boxes) != 1 || p.text.bare || strings.IndexByte(p.s, '\\') >= 0 || !asciiDomain(p.s) {
		return refused
	}
	raw := strings.NewReplacer("\r\n", "", "\t", " ").Replace(p.s)
	// Some clients drop comments and quotes before they decode.
	for _, s := range []string{raw, stripMarks(raw)} {
		if !oneAddress(s, 1+p.text.ats) {
			return refused
		}
	}
	return nil
}

// asciiDomain reports whether the domain after the last "@" is written in
// ASCII. Readers who go by patterns, as those must who get along with such
// fields, stop at the first other octet and have another domain.
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

// oneAddress reports whether s has the given number of "@" and one pair of angle
// brackets at most, as it is and with its encoded words decoded.
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
