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

// What other readers than ours see in a text: which domain follows an "@", and
// whether there is one domain only, however they split, decode and clean it.

// oneDomain reports whether no reader sees another domain than the given one in
// text: as it is, without comments, without quotes and parentheses, and each of
// these with its encoded words decoded.
func oneDomain(text, domain string) bool {
	for _, form := range forms(text) {
		if !showsOnly(form, domain) {
			return false
		}
		refusal := encodedword.Decodings(form, true, func(scan encodedword.Decoded) string {
			texts := []string{scan.Judged}
			if shown := withoutControls(scan.Judged); shown != scan.Judged { // Many show text without them.
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

// forms returns the text itself and what readers leave of it.
func forms(text string) []string {
	if !strings.ContainsAny(text, "\"()") {
		return []string{text}
	}
	outside, _ := splitComments(text)
	forms := []string{text, outside, withoutComments(text), strings.NewReplacer(`"`, "", "(", " ", ")", " ").Replace(text), stripMarks(text)}
	if strings.Contains(text, "=?") { // A mark within an encoded word hides it from who does not drop marks.
		forms = append(forms, strings.NewReplacer(`"`, "", "(", "", ")", "").Replace(text))
	}
	return forms
}

// withoutComments returns text with a space for each comment, as those read it who
// know quotes: a parenthesis in quotes is none.
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

// withoutControls removes control octets.
func withoutControls(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// showsOnly reports whether every "@" in text, or sign that looks like one,
// before something like a domain is before the given domain, and no angle
// brackets hold a domain without an "@".
func showsOnly(text, domain string) bool {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "@")
		if !found {
			break
		}
		if strings.HasPrefix(strings.TrimLeft(after, " \t"), "[") { // an address literal is another author without a domain
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

// bracketsDomain reports whether a pair of angle brackets holds a domain and no
// "@": to readers who look for brackets first, the author.
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

// looksLikeAddress reports whether a sign that is not "@" but looks like one
// stands before a domain: to the eye a member of the list.
func looksLikeAddress(text string) bool {
	for member := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(",:;<>", r) }) {
		if i := strings.IndexAny(member, "\uff20\ufe6b"); i >= 0 && startsDomain(member[i+len("\uff20"):]) {
			return true
		}
	}
	return false
}

// startsDomain reports whether text begins with something a reader might take
// for a domain with a dot in it, generously. It reads no further than the next
// "@".
func startsDomain(text string) bool {
	end := 0
	for end < len(text) && (mailaddr.IsAtom(text[end]) || isWSP(text[end])) {
		end++
	}
	return dotted([]byte(text[:end])) || strings.ContainsAny(text[:end], "\u3002\uff0e\uff61\ufe52") // dots of other scripts
}

// slipDomain returns the domain that follows an "@". It reports false if a
// reader might see another: one that goes on after white space, quotes or
// brackets, or ends earlier, at an octet that only some allow in a domain.
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

// atomEnd returns where the run of atext and dots ends that text begins with.
func atomEnd(text string) int {
	end := 0
	for end < len(text) && mailaddr.IsAtom(text[end]) {
		end++
	}
	return end
}

// joins reports whether readers who leave white space out of a domain, as RFC
// 5322 §4.4 and Python's email.utils do, see another one that could exist. In
// "foo@a.example Foo" they see the top-level domain "exampleFoo": nobody's.
func joins(domain, rest string) bool {
	end := 0
	for end < len(rest) && (mailaddr.IsAtom(rest[end]) || isWSP(rest[end])) {
		end++
	}
	for word := range strings.FieldsSeq(rest[:end]) {
		name := word[:hostEnd(word)] // Readers by patterns stop at any other octet.
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

// hostEnd returns where the run of letters, digits, hyphens and dots ends that
// text begins with.
func hostEnd(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r != '-' && r != '.' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	})
	if end < 0 {
		return len(text)
	}
	return end
}

// isTopLevel reports whether label is a top-level domain, of the Internet or of
// somebody's own network.
func isTopLevel(label string) bool {
	return suffix.IsTopLevel(label) || slices.Contains(localTops, label)
}

// localTops are top-level domains that the Internet's DNS does not have
// (RFC 6761, RFC 6762, RFC 9476) or that private networks use.
var localTops = []string{"example", "test", "invalid", "localhost", "local", "internal", "home", "lan", "corp", "onion", "alt", "arpa"}
