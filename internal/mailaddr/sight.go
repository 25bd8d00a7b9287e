package mailaddr

import "strings"

// sight is how much of another domain a reader sees in a display name.
type sight uint8

const (
	seesNone      sight = iota
	seesOther           // an address of another domain among other words
	seesOnlyOther       // nothing but such an address
)

// sightOf returns what a reader sees in the text of a display name or comment
// beside an author at domain. A domain above or below the author's is no other
// one: whoever can send for mail.a.example is hardly a stranger at a.example.
func sightOf(text, domain string) sight {
	seen := seesNone
	if strings.IndexByte(text, '@') < 0 {
		return seen
	}
	for piece := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ';' }) {
		switch piece = strings.Trim(piece, " \t\"'<>()[]"); {
		case !holdsOther(piece, domain):
		case strings.ContainsAny(piece, " \t"):
			seen = max(seen, seesOther)
		default:
			return seesOnlyOther
		}
	}
	return seen
}

// holdsOther reports whether text holds an address of another domain.
func holdsOther(text, domain string) bool {
	for {
		before, after, ok := strings.Cut(text, "@")
		if !ok {
			return false
		}
		end := 0
		for end < len(after) && isAtom(after[end]) {
			end++
		}
		name := strings.TrimRight(after[:end], ".'!?")
		if before != "" && isAtom(before[len(before)-1]) && strings.Contains(name, ".") && !related(name, domain) {
			return true
		}
		text = after
	}
}

// related reports whether one name is the other, or above it.
func related(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(strings.TrimSuffix(b, "."))
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}
