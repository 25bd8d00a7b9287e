package author

import (
	"strings"

	"sekimori/internal/mailaddr"
)

// sight is which addresses of other domains a reader sees in a display name or
// comment.
type sight uint8

const (
	seesOther sight = 1 << iota // an address of another domain among other words
	seesName                    // nothing but such an address
	seesAlike                   // nothing but what looks like an address of another domain
	seesAngle                   // such an address in encoded angle brackets
)

// alike are the characters that look like those of an address.
var alike = strings.NewReplacer("\uff20", "@", "\ufe6b", "@", "\uff0e", ".", "\ufe52", ".", "\u2024", ".")

// sightOf returns what a reader sees in text beside an author at domain. No
// program takes for an address what only looks like one; people do.
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

// sightOfASCII is sightOf for the signs of ASCII.
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

// shows reports whether text holds an address of another domain, and whether it
// holds one of a domain above or below the given one. The latter is nobody
// else's: whoever can send for mail.a.example is hardly a stranger at a.example.
func shows(text, domain string) (other, below bool) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	for {
		before, after, ok := strings.Cut(text, "@")
		if !ok {
			return other, below
		}
		name := strings.ToLower(domainShown(after))
		switch {
		case before == "" || before[len(before)-1] != '"' && !mailaddr.IsAtom(before[len(before)-1]) || !strings.Contains(name, ".") || name == domain:
		case strings.HasSuffix(name, "."+domain), strings.HasSuffix(domain, "."+name):
			below = true
		default:
			other = true
		}
		text = after
	}
}

// domainShown returns what text begins with, if it looks like a domain to a person.
func domainShown(text string) string {
	end := 0
	for end < len(text) && mailaddr.IsAtom(text[end]) {
		end++
	}
	return strings.TrimRight(text[:end], ".'!?")
}

// notes returns nil for an ordinary field.
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
