package author

import (
	"strings"

	"sekimori/internal/mailaddr/encodedword"
)

// hiddenAddress is the refusal of an encoded word that some clients, which decode
// first and parse then, take for another author.
const hiddenAddress = "an encoded word holds an address of another domain in angle brackets"

// decodeWords decodes the encoded words (RFC 2047) of a display name or
// comment as lenient clients do: anywhere, also within quotes or beside other
// text, and with spaces inside. It returns what to show, which addresses of
// other domains a reader sees in it, and why the text must be refused, "" if it
// need not. seesAngle is left to the caller, who knows where the text stands.
func decodeWords(text, domain string) (display string, seen sight, refusal string) {
	seen = sightOf(text, domain)
	if !strings.Contains(text, "=?") {
		return text, seen, ""
	}
	display = text
	var plain *encodedword.Decoded // what most readers decode
	mixed := false                 // others decode another address
	refusal = encodedword.Decodings(text, false, func(scan encodedword.Decoded) string {
		if plain == nil {
			plain = &scan
			if scan.Usual {
				display = scan.Display
			}
		}
		seen |= sightOf(scan.Judged, domain)
		mixed = mixed || !plain.Usual || fromAngle(scan.Judged) != fromAngle(plain.Judged)
		switch {
		case !holdsAngle(scan.Judged, domain):
		case mixed, strings.ContainsAny(text, "<>"), !isNameWithAngle(scan.Judged):
			return hiddenAddress
		default:
			seen |= seesAngle
		}
		return ""
	})
	if refusal == "" && mixed && seen&seesAngle != 0 {
		refusal = hiddenAddress
	}
	if refusal != "" {
		return "", seen, refusal
	}
	return display, seen, ""
}

// fromAngle returns what follows the first angle bracket.
func fromAngle(text string) string {
	_, after, _ := strings.Cut(text, "<")
	return after
}

// isNameWithAngle reports whether decoded text is a name with one address in
// angle brackets, and ends no mailbox to those who decode first and parse then.
func isNameWithAngle(text string) bool {
	address, rest, closed := strings.Cut(fromAngle(text), ">")
	return closed && strings.Count(address, "@") == 1 && !strings.ContainsAny(address, "< \t") && !strings.ContainsAny(rest, "<>") &&
		!strings.ContainsAny(text, `,;:\`) && !strings.Contains(text, "=?")
}

// holdsAngle reports whether decoded text holds an address in angle brackets,
// closed or not, of another domain.
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

// sameDomain reports whether text is the given domain, perhaps in other letters.
func sameDomain(text, domain string) bool {
	if strings.EqualFold(text, domain) {
		return true
	}
	name, err := authorDomain(text, 0)
	return err == nil && string(name) == domain
}
