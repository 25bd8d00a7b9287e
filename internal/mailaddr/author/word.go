package author

import (
	"strings"

	"sekimori/internal/mailaddr/encodedword"
)

// hiddenAddress is the refusal of an encoded word in which some clients would find another author.
// These clients decode the field before they parse it.
const hiddenAddress = "an encoded word holds an address of another domain in angle brackets"

// decodeWords decodes the encoded words (RFC 2047) of a display name or comment as tolerant clients
// do: at every place, also within quotes or beside other text, and with spaces inside. It returns
// the text to show, the ways in which a program sees an address of another domain, and why the text
// must be refused ("" if it is accepted). A text with seesAngle can be accepted in some places of a
// field. The caller decides that.
func decodeWords(text, domain string) (display string, seen sight, refusal string) {
	seen = sightOf(text, domain)
	if !strings.Contains(text, "=?") {
		return text, seen, ""
	}
	display = text
	var plain *encodedword.Decoded // the text that most mail programs see; nil before the first call
	mixed := false                 // mail programs disagree on the address in angle brackets
	refusal = encodedword.Decodings(text, false, func(scan encodedword.Decoded) string {
		if plain == nil {
			plain = &scan
			if scan.Usual {
				display = scan.Display
			}
		}
		seen |= sightOf(scan.Judged, domain)
		if !plain.Usual || fromAngle(scan.Judged) != fromAngle(plain.Judged) {
			mixed = true
		}
		switch {
		case !holdsAngle(scan.Judged, domain):
		case strings.ContainsAny(text, "<>"), !isNameWithAngle(scan.Judged):
			return hiddenAddress
		default:
			seen |= seesAngle
		}
		return ""
	})
	if mixed && seen&seesAngle != 0 {
		refusal = hiddenAddress
	}
	if refusal != "" {
		return "", seen, refusal
	}
	return display, seen, ""
}

// fromAngle returns the text after the first opening angle bracket.
func fromAngle(text string) string {
	_, after, _ := strings.Cut(text, "<")
	return after
}

// isNameWithAngle reports whether a decoded text is a name with one address in angle brackets. For
// a client that decodes the field before it parses it, nothing in the text may end the mailbox.
func isNameWithAngle(text string) bool {
	address, rest, closed := strings.Cut(fromAngle(text), ">")
	return closed && strings.Count(address, "@") == 1 && !strings.ContainsAny(address, "< \t") && !strings.ContainsAny(rest, "<>") &&
		!strings.ContainsAny(text, `,;:\`) && !strings.Contains(text, "=?")
}

// holdsAngle reports whether a decoded text has an address of another domain in angle brackets. The
// closing bracket may be missing.
func holdsAngle(text, domain string) bool {
	for {
		_, after, ok := strings.Cut(text, "<")
		if !ok {
			return false
		}
		inner, rest, _ := strings.Cut(after, ">")
		if _, name, ok := strings.Cut(inner, "@"); ok && !sameDomain(strings.TrimSpace(name), domain) {
			return true
		}
		text = rest
	}
}

// sameDomain reports whether text is the given domain, perhaps spelled differently.
func sameDomain(text, domain string) bool {
	if strings.EqualFold(text, domain) {
		return true
	}
	name, err := authorDomain(text, 0)
	return err == nil && string(name) == domain
}
