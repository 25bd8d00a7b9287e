package author

import (
	"strings"

	"sekimori/internal/mailaddr"
)

// sight is a set of ways in which a reader sees an address of another domain in a display
// name or comment.
type sight uint8

const (
	seesOther sight = 1 << iota // there is such an address among other words
	seesName                    // the text is nothing but such an address
	seesAlike                   // the text is nothing but something that looks like such an address
	seesAngle                   // such an address stands in encoded angle brackets
)

// alike replaces the characters that look like those of an address.
var alike = strings.NewReplacer("\uff20", "@", "\ufe6b", "@", "\uff0e", ".", "\ufe52", ".", "\u2024", ".")

// sightOf returns what a reader sees in text beside an author at domain. People, not
// programs, take text for an address because it looks like one.
func sightOf(text, domain string) sight {
	seen := sightOfASCII(text, domain)
	if !strings.ContainsAny(text, "\uff20\ufe6b\uff0e\ufe52\u2024") {
		return seen
	}
	looks := sightOfASCII(alike.Replace(text), domain)
	if looks&^seen&seesName != 0 {
		seen |= seesAlike
	}
	return seen | looks&seesOther
}

// sightOfASCII is sightOf for the at sign and the dot of ASCII only.
func sightOfASCII(text, domain string) (seen sight) {
	if strings.IndexByte(text, '@') < 0 {
		return 0
	}
	for piece := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ';' }) {
		piece = strings.Trim(piece, " \t\"'<>()[]")
		switch other, _ := shows(piece, domain); {
		case !other:
		case strings.ContainsAny(piece, " \t"):
			seen |= seesOther
		default:
			seen |= seesName
		}
	}
	return seen
}

// shows reports whether text holds an address of another domain, and whether it holds one
// of a domain above or below the given one. A domain above or below does not count as
// another: whoever can send for mail.a.example is hardly a stranger at a.example.
func shows(text, domain string) (other, below bool) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	for {
		before, after, ok := strings.Cut(text, "@")
		if !ok {
			return other, below
		}
		name := strings.ToLower(domainShown(after))
		switch {
		case before == "" || !endsLocalPart(before[len(before)-1]) || !strings.Contains(name, ".") || name == domain:
		case strings.HasSuffix(name, "."+domain), strings.HasSuffix(domain, "."+name):
			below = true
		default:
			other = true
		}
		text = after
	}
}

// endsLocalPart reports whether c can be the last octet of a local part.
func endsLocalPart(c byte) bool { return c == '"' || mailaddr.IsAtom(c) }

// domainShown returns the beginning of text that a person would take for a domain.
func domainShown(text string) string {
	end := 0
	for end < len(text) && mailaddr.IsAtom(text[end]) {
		end++
	}
	return strings.TrimRight(text[:end], ".'!?")
}

// notes returns the notes on the field, nil for an ordinary one.
func (p *parser) notes() (notes []Note) {
	switch {
	case p.seen&(seesName|seesAlike|seesAngle) != 0:
		notes = append(notes, NoteOtherName)
	case p.seen&seesOther != 0:
		notes = append(notes, NoteOtherAddress)
	}
	if p.slip {
		notes = append(notes, NoteSlip)
	}
	return notes
}
