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

// This file finds the domains that mail programs may see in a text, and checks that there is only
// one. Programs differ in how they split, decode and clean the text.

// oneDomain reports whether every mail program sees only the given domain in text. It looks at
// several forms of the text: as it is, without comments, without quotes and parentheses. In each of
// these forms, it looks at the text with and without the encoded words decoded.
func oneDomain(text, domain string) bool {
	for _, form := range forms(text) {
		if !showsOnly(form, domain) {
			return false
		}
		refusal := encodedword.Decodings(form, true, func(scan encodedword.Decoded) string {
			texts := []string{scan.Judged}
			if shown := withoutControls(scan.Judged); shown != scan.Judged { // many clients leave out control characters
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

// forms returns the text as it is, and as it looks to programs that remove comments or quotes.
func forms(text string) []string {
	if !strings.ContainsAny(text, "\"()") {
		return []string{text}
	}
	outside, _ := splitComments(text)
	forms := []string{text, outside, withoutComments(text), strings.NewReplacer(`"`, "", "(", " ", ")", " ").Replace(text), stripMarks(text)}
	// A program that keeps quotes does not find an encoded word that has a quote in it. A program
	// that removes quotes first does find it.
	if strings.Contains(text, "=?") {
		forms = append(forms, strings.NewReplacer(`"`, "", "(", "", ")", "").Replace(text))
	}
	return forms
}

// withoutComments returns text with a space in place of each comment. It knows quotes: a
// parenthesis within quotes does not begin a comment.
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

// showsOnly reports whether the given domain is the only one that a mail program can see in text.
// Wherever a domain seems to follow an "@", it must be the given domain. showsOnly also reports
// false if a domain follows a character that only looks like "@", or if angle brackets hold a
// domain without an "@".
func showsOnly(text, domain string) bool {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "@")
		if !found {
			break
		}
		// After "@[", a program would see an author with an address literal and without a domain.
		if strings.HasPrefix(strings.TrimLeft(after, " \t"), "[") {
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

// bracketsDomain reports whether a pair of angle brackets holds a domain, but no "@". A program
// that looks for brackets first would use that domain as the author's.
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

// looksLikeAddress reports whether a domain follows a character that looks like "@", but is not
// "@". A person would see an address.
func looksLikeAddress(text string) bool {
	for member := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(",:;<>", r) }) {
		if i := strings.IndexAny(member, "\uff20\ufe6b"); i >= 0 && startsDomain(member[i+len("\uff20"):]) {
			return true
		}
	}
	return false
}

// startsDomain reports whether a program could find a domain with a dot at the beginning of text.
// The domain may have white space in it, because some programs remove that. startsDomain reads no
// further than the next "@".
func startsDomain(text string) bool {
	end := 0
	for end < len(text) && (mailaddr.IsAtom(text[end]) || isWSP(text[end])) {
		end++
	}
	return dotted([]byte(text[:end])) || strings.ContainsAny(text[:end], "\u3002\uff0e\uff61\ufe52") // full stops other than the ASCII dot
}

// slipDomain returns the domain at the beginning of after, the text behind an "@". It reports false
// if a program might see a different domain. For some programs, the domain may go on after white
// space, quotes or brackets. For others, it may end earlier, at an octet that not every program
// allows in a domain.
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

// atomEnd returns the number of octets at the beginning of text that are atext or dots.
func atomEnd(text string) int {
	end := 0
	for end < len(text) && mailaddr.IsAtom(text[end]) {
		end++
	}
	return end
}

// joins reports whether a program that removes white space from a domain could see a different
// domain that may exist. RFC 5322 §4.4 allows such white space, and Python's email.utils removes
// it. In "foo@a.example Foo", such a program sees the top-level domain "exampleFoo", which does not
// exist.
func joins(domain, rest string) bool {
	end := 0
	for end < len(rest) && (mailaddr.IsAtom(rest[end]) || isWSP(rest[end])) {
		end++
	}
	for word := range strings.FieldsSeq(rest[:end]) {
		name := word[:hostEnd(word)] // A program that searches for a pattern stops at an octet that cannot be in a host name.
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

// hostEnd returns the number of octets at the beginning of text that are letters, digits, hyphens
// or dots.
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

// localTops are top-level domains that are reserved for examples and other special uses (RFC 6761,
// RFC 6762, RFC 7686, RFC 9476), and top-level domains that private networks use. "arpa" is here
// because of home.arpa (RFC 8375).
var localTops = []string{"example", "test", "invalid", "localhost", "local", "internal", "home", "lan", "corp", "onion", "alt", "arpa"}
