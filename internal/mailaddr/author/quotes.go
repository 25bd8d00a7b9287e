package author

import (
	"strings"

	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/encodedword"
)

// quotes records whether mail programs disagree on where a quoted text or a comment ends. Some
// programs do not know quoted pairs. Some do not know comments, and see the quotes within comments.
// Some read an octet beyond ASCII before a quote or parenthesis as the first half of a character,
// and do not see the quote or parenthesis. For such a program, an address that is within quotes may
// seem to be outside of the quotes.
type quotes struct {
	oddAt     int  // offset of the first quoted text or comment whose end is not clear, or -1
	foreign   bool // an address of another domain is in a display name
	commented bool // an address of another domain is in a comment, and the mailbox with this comment has angle brackets
}

// noteQuotes records the offset of t if mail programs could disagree on where t ends.
func (p *parser) noteQuotes(t token) {
	if p.quotes.oddAt >= 0 || t.kind != tokQuoted && t.kind != tokComment {
		return
	}
	raw := p.s[t.start:t.end]
	marks := `\`
	if t.kind == tokComment {
		marks = `"\`
	}
	swallowed := !p.utf8 && (raw[len(raw)-2] >= 0x80 || t.start > 0 && p.s[t.start-1] >= 0x80)
	if swallowed || strings.ContainsAny(raw, marks) {
		p.quotes.oddAt = t.start
	}
}

// checkWords refuses two kinds of encoded words, because a client that decodes the field before it
// parses it would see another author. The first kind is a word that begins in one part of the field
// and ends in another. The second kind is a word that holds quotes, parentheses or brackets, if an
// address of another domain is in quotes or in a comment.
func (p *parser) checkWords() error {
	foreign := p.quotes.foreign || p.quotes.commented
	first := strings.IndexAny(p.s, "<\"(,@")
	if !foreign && strings.LastIndex(p.s, "=?") < first && strings.LastIndex(p.s, "?=") < first {
		return nil // All words are in one phrase, which finish has already checked.
	}
	flat := unfold(p.s)
	domain := string(p.boxes[0].Domain)
	refusal := encodedword.Decodings(flat, false, func(scan encodedword.Decoded) string {
		switch {
		case foreign && marks(scan.Judged) != marks(flat):
			return hiddenAddress
		case foreign || !holdsAngle(scan.Judged, domain) || p.seen&seesAngle != 0 && quotedName(scan.Judged, flat):
			return ""
		}
		return hiddenAddress
	})
	if refusal != "" {
		return &Error{KindAmbiguous, 0, refusal}
	}
	return nil
}

// quotedName reports whether decoded differs from flat only within the quotes at the beginning.
// Then no encoded word reaches beyond the quotes, and no decoded quote ends them.
func quotedName(decoded, flat string) bool {
	after := flat[strings.LastIndexByte(flat, '"')+1:]
	return strings.Count(flat, `"`) == 2 && strings.Count(decoded, `"`) == 2 && strings.HasPrefix(strings.TrimLeft(decoded, " \t"), `"`) &&
		strings.HasSuffix(decoded, `"`+after)
}

// marks counts the octets of text that can divide a field into parts.
func marks(text string) (n int) {
	for i := 0; i < len(text); i++ {
		if strings.IndexByte(`"()<>\`, text[i]) >= 0 {
			n++
		}
	}
	return n
}

// foreignAddress reports whether text has an "@" with something other than the given domain after
// it.
func foreignAddress(text, domain string) bool {
	for {
		_, after, ok := strings.Cut(text, "@")
		if !ok {
			return false
		}
		end := 0
		for end < len(after) && mailaddr.IsAtom(after[end]) && after[end] != '\'' {
			end++
		}
		if !strings.EqualFold(after[:end], domain) {
			return true
		}
		text = after
	}
}
