package author

import (
	"slices"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/encodedword"
	"sekimori/internal/printable"
)

// This file asks what other readers see in a text: which domain follows an "@", and
// whether there is only one domain, however they split, decode and clean the text.

// oneDomain reports whether every reader of text sees only the given domain: in the text as
// it is, without comments, without quotes and parentheses, and in each of these with the
// encoded words decoded.
func oneDomain(text, domain string) bool {
	for _, form := range forms(text) {
		if !showsOnly(form, domain) {
			return false
		}
		refusal := encodedword.Decodings(form, true, func(scan encodedword.Decoded) string {
			texts := []string{scan.Judged}
			if shown := withoutControls(scan.Judged); shown != scan.Judged { // many clients show text without control characters
				texts = append(texts, shown)
			}
			for _, text := range texts {
				for _, form := range forms(text) {
					if !showsOnly(form, domain) {
						return hiddenAddress
					}
				}
			}
			return ""
		})
		if refusal != "" {
			return false
		}
	}
	return true
}

// forms returns the text as it is, and as readers see it that remove comments or quotes.
func forms(text string) []string {
	if !strings.ContainsAny(text, "\"()") {
		return []string{text}
	}
	outside, _ := splitComments(text)
	forms := []string{text, outside, withoutComments(text), strings.NewReplacer(`"`, "", "(", " ", ")", " ").Replace(text), stripMarks(text)}
	if strings.Contains(text, "=?") { // a quote within an encoded word hides the word from readers that keep quotes
		forms = append(forms, strings.NewReplacer(`"`, "", "(", "", ")", "").Replace(text))
	}
	return forms
}

// withoutComments returns text with a space in place of each comment, as a reader sees it
// that knows quotes: a parenthesis within quotes does not begin a comment.
func withoutComments(text string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' && depth == 0:
			quoted = !quoted
			b.WriteByte(c)
		case quoted:
			b.WriteByte(c)
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
			b.WriteByte(' ')
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// withoutControls returns text without control characters, except tabs.
func withoutControls(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// showsOnly reports whether the given domain follows every "@" in text after which
// something like a domain stands. It reports false if a sign that looks like "@" has a
// domain after it, and if angle brackets hold a domain without an "@".
func showsOnly(text, domain string) bool {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "@")
		if !found {
			break
		}
		if strings.HasPrefix(strings.TrimLeft(after, " \t"), "[") { // an address literal would be an author without a domain
			return false
		}
		if startsDomain(after) {
			if name, _ := slipDomain(after); string(name) != domain {
				return false
			}
		}
		rest = after
	}
	return !looksLikeAddress(text) && !bracketsDomain(text)
}

// bracketsDomain reports whether a pair of angle brackets holds a domain and no "@". A
// reader that looks for brackets first would take that domain for the author.
func bracketsDomain(text string) bool {
	for {
		_, after, found := strings.Cut(text, "<")
		if !found {
			return false
		}
		end := strings.IndexAny(after, "@<>")
		if end >= 0 && after[end] == '>' && startsDomain(after[:end]) {
			return true
		}
		text = after
	}
}

// looksLikeAddress reports whether a sign that looks like "@", but is another character,
// stands before a domain. A person would see an address.
func looksLikeAddress(text string) bool {
	for member := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(",:;<>", r) }) {
		if i := strings.IndexAny(member, "\uff20\ufe6b"); i >= 0 && startsDomain(member[i+len("\uff20"):]) {
			return true
		}
	}
	return false
}

// startsDomain reports whether a reader might take the beginning of text for a domain with
// a dot in it, even with white space between. It reads no further than the next "@".
func startsDomain(text string) bool {
	end := 0
	for end < len(text) && (mailaddr.IsAtom(text[end]) || isWSP(text[end])) {
		end++
	}
	return dotted([]byte(text[:end])) || strings.ContainsAny(text[:end], "\u3002\uff0e\uff61\ufe52") // dots of other scripts
}

// slipDomain returns the domain at the beginning of after, the text behind an "@". It
// reports false if a reader might see another domain: one that goes on after white space,
// quotes or brackets, or one that ends earlier, at an octet that only some readers allow
// in a domain.
func slipDomain(after string) (dns.Name, bool) {
	after = strings.TrimLeft(after, " \t") // CFWS around "@" (RFC 5322 §4.4)
	end := atomEnd(after)
	text, rest := strings.TrimRight(after[:end], "'"), after[end:]
	if !printable.IsASCII(text) || strings.IndexByte(text, '_') >= 0 {
		return "", false
	}
	if rest != "" && strings.IndexByte(" \t<>,;:\"()]", rest[0]) < 0 {
		return "", false
	}
	next := strings.TrimLeft(rest, " \t<>,;:\"'()[]")
	continues := len(next) > 1 && next[0] == '.' && mailaddr.IsAtom(next[1])
	if continues || strings.HasSuffix(text, ".") && next != "" && mailaddr.IsAtom(next[0]) || joins(text, rest) {
		return "", false
	}
	name, err := authorDomain(text, 0)
	return name, err == nil
}

// atomEnd returns the length of the run of atext and dots at the beginning of text.
func atomEnd(text string) int {
	end := 0
	for end < len(text) && mailaddr.IsAtom(text[end]) {
		end++
	}
	return end
}

// joins reports whether a reader that leaves white space out of a domain, as RFC 5322 §4.4
// and Python's email.utils do, sees another domain that could exist. In "foo@a.example
// Foo" it sees the top-level domain "exampleFoo", which does not exist.
func joins(domain, rest string) bool {
	end := 0
	for end < len(rest) && (mailaddr.IsAtom(rest[end]) || isWSP(rest[end])) {
		end++
	}
	for word := range strings.FieldsSeq(rest[:end]) {
		name := word[:hostEnd(word)] // A reader that searches for patterns stops at any other octet.
		if domain += name; name == "" || len(domain) > dns.MaxNameLen {
			return false
		}
		top := strings.ToLower(strings.TrimRight(domain, "."))
		if isTopLevel(top[strings.LastIndexByte(top, '.')+1:]) {
			return true
		}
		if name != word {
			return false
		}
	}
	return false
}

// hostEnd returns the length of the run of letters, digits, hyphens and dots at the
// beginning of text.
func hostEnd(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r != '-' && r != '.' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	})
	if end < 0 {
		return len(text)
	}
	return end
}

// isTopLevel reports whether label is a top-level domain of the Internet or of a private
// network.
func isTopLevel(label string) bool {
	return suffix.IsTopLevel(label) || slices.Contains(localTops, label)
}

// localTops are top-level domains that the DNS of the Internet does not have (RFC 6761, RFC
// 6762, RFC 9476), and those that private networks use.
var localTops = []string{"example", "test", "invalid", "localhost", "local", "internal", "home", "lan", "corp", "onion", "alt", "arpa"}
