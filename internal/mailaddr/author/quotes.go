package author

import (
	"strings"

	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/encodedword"
)

// quotes notes what lets readers disagree on what is quoted: quoted pairs, which
// some do not know, quotes in comments, for those who do not know comments, and
// octets beyond ASCII right before a quote or parenthesis, which some take for
// the first half of a character. To them an address in quotes may stand outside.
type quotes struct {
	oddAt     int  // where, or -1
	foreign   bool // an address of another domain is quoted
	commented bool // one is in a comment beside angle brackets
}

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

// checkWords refuses encoded words that are not what they seem: words that end
// in another part of the field than they begin in, and words that hold quotes,
// parentheses or brackets beside an address of another domain in quotes. Who
// decodes first and parses then has another author.
func (p *parser) checkWords() error {
	foreign := p.quotes.foreign || p.quotes.commented
	first := strings.IndexAny(p.s, "<\"(,@")
	if !foreign && strings.LastIndex(p.s, "=?") < first && strings.LastIndex(p.s, "?=") < first {
		return nil // All words are in one phrase, which was judged.
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

// quotedName reports whether decoded is flat with other text in the quotes that
// it begins with: no word goes on behind them, and no decoded quote ends them.
func quotedName(decoded, flat string) bool {
	after := flat[strings.LastIndexByte(flat, '"')+1:]
	return strings.Count(flat, `"`) == 2 && strings.Count(decoded, `"`) == 2 && strings.HasPrefix(strings.TrimLeft(decoded, " \t"), `"`) &&
		strings.HasSuffix(decoded, `"`+after)
}

// marks counts what divides a field.
func marks(text string) (n int) {
	for i := 0; i < len(text); i++ {
		if strings.IndexByte(`"()<>\`, text[i]) >= 0 {
			n++
		}
	}
	return n
}

// foreignAddress reports whether an "@" in text is followed by anything but
// the given domain.
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
