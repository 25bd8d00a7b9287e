package author

import (
	"strings"

	"sekimori/internal/mailaddr"
)

// sight is a set of the ways in which a mail program could see an address of another domain in a
// display name or comment.
type sight uint8

const (
	seesOther sight = 1 << iota // the text has such an address and other words
	seesName                    // the text consists only of such an address
	seesAlike                   // the text consists only of something that looks like such an address
	seesAngle                   // such an address is in encoded angle brackets
)

// alike replaces characters that look like the at sign or the dot.
var alike = strings.NewReplacer("\uff20", "@", "\ufe6b", "@", "\uff0e", ".", "\ufe52", ".", "\u2024", ".")

// sightOf returns what a mail program sees in text beside an author at domain. Characters that only
// look like an at sign or a dot mislead people, but not programs.
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

// sightOfASCII does the same as sightOf, but knows only the at sign and the dot of ASCII.
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

// shows looks for addresses in text. The result "other" says that text has an address of another
// domain. The result "below" says that text has an address of a domain above or below the given
// one. Such a domain does not count as other: a sender with an address at mail.a.example most likely
// belongs to a.example.
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

// endsLocalPart reports whether a local part can end in c.
func endsLocalPart(c byte) bool { return c == '"' || mailaddr.IsAtom(c) }

// domainShown returns the beginning of text that a person would read as a domain.
func domainShown(text string) string {
	end := 0
	for end < len(text) && mailaddr.IsAtom(text[end]) {
		end++
	}
	return strings.TrimRight(text[:end], ".'!?")
}

// notes returns the notes on the field. It returns nil for an ordinary field.
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
