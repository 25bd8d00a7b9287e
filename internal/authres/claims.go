package authres

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"sekimori/internal/printable"
)

// maxHeadLen limits the text before the results, in octets. A genuine authserv-id is much shorter.
// A longer text is therefore treated as forged.
const maxHeadLen = 2 << 10

// IDs are the authserv-ids of one host, or of several hosts that are treated as one. The zero value
// has no id. An IDs is safe for concurrent use.
type IDs struct {
	ids   []string // all ids, in the form of canonicalID
	words []string // the texts that IDs.named looks for: the ids that are not too long, and their U-labels
}

// NewIDs returns IDs with the given authserv-ids.
func NewIDs(ids ...string) IDs {
	var n IDs
	for _, id := range ids {
		want := canonicalID(id)
		n.ids = append(n.ids, want)
		if want == "" || len(want) > maxHeadLen {
			continue
		}
		n.words = append(n.words, want)
		if u := mapDomain(want); u != "" && u != want { // "xn--" stands for an empty label
			n.words = append(n.words, u)
		}
	}
	return n
}

// Claimed reports whether some program that reads this value of an Authentication-Results field
// could think that a host with one of the ids wrote it. If a claimed field comes from outside, it
// is forged and must be removed (RFC 8601 §5).
//
// The value need not be well-formed. Claimed reads the text before the first ';' in the ways in
// which careful and careless programs read it: with and without knowledge of comments, quotes and
// escapes, without white space, control characters and 8-bit octets, and with internationalized
// names decoded. If one of the ids is a whole word in any of these readings, the field is claimed.
// Other text in the field makes no difference. A longer name that contains an id, such as
// mx.example.jp.attacker.net, is a different word.
//
// If the text before the first ';' has an encoded word (RFC 2047), the field counts as claimed. No
// authserv-id needs an encoded word, and a program may decode the encoded word with a charset that
// this package does not know. The cost is linear in the length of the value.
func (n IDs) Claimed(value string) bool {
	p := &parser{s: value}
	if got, err := p.authServID(); err == nil && slices.Contains(n.ids, canonicalID(got)) {
		return true
	}
	if len(n.words) == 0 {
		return false
	}
	value = strings.TrimLeft(value, " \t\r\n;,")
	head := value[:headLen(value[:min(len(value), maxHeadLen+1)])]
	if len(head) > maxHeadLen {
		return true // a quote or a parenthesis is not closed, or the length is meant to hide an id
	}
	if i := strings.Index(head, wordBegin); i >= 0 && encoded(value[i:]) {
		return true // a program may look for the end of the encoded word beyond the head
	}
	return n.named(head)
}

// wordBegin and wordEnd are the beginning and the end of an encoded word.
const wordBegin, wordEnd = "=?", "?="

// encoded reports whether text may hold an encoded word.
func encoded(text string) bool {
	_, after, found := strings.Cut(text, wordBegin)
	return found && strings.Contains(after, wordEnd)
}

// named reports whether one of the ids is a whole word in any reading of text.
func (n IDs) named(text string) bool {
	for _, reading := range readings(text) {
		for _, w := range n.words {
			if hasWord(reading, w) {
				return true
			}
		}
	}
	return false
}

// canonicalID returns an id in lower case and without dots at its end. The programs that read the
// field ignore case, and often ignore a dot at the end. Two ids are equal if canonicalID returns
// the same for both.
func canonicalID(id string) string { return strings.TrimRight(lower(id), ".") }

// syntax says which parts of the grammar are known to a program that reads the field.
type syntax struct{ quotes, comments, escapes bool }

// headLen returns the length of the text before the results. Programs that know different parts of
// the grammar see different lengths. headLen returns the longest of these.
func headLen(value string) int {
	n := 0
	for _, syn := range []syntax{
		{}, {quotes: true}, {comments: true}, {quotes: true, comments: true},
		{quotes: true, escapes: true}, {comments: true, escapes: true}, {quotes: true, comments: true, escapes: true},
	} {
		n = max(n, syn.head(value))
	}
	return n
}

// head returns where the text before the results ends for a program with this syntax. That is the
// offset of the first ';' that has a letter or digit before it, or the length of value if there is
// none.
func (syn syntax) head(value string) int {
	depth, quoted, seen := 0, false, false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case syn.escapes && c == '\\' && (quoted || depth > 0):
			i++
		case quoted:
			quoted = c != '"'
			seen = seen || isAlnum(c)
		case syn.comments && c == '(':
			depth++
		case depth > 0:
			if c == ')' {
				depth--
			}
		case syn.quotes && c == '"':
			quoted = true
		case c == ';' && seen:
			return i
		default:
			seen = seen || isAlnum(c)
		}
	}
	return len(value)
}

// readings returns the texts, in lower case, that different programs could see in head.
func readings(head string) []string {
	plain := lower(head)
	bare, pattern := uncomment(plain, true), uncomment(plain, false)
	words := strings.Map(dropMarks, bare)
	out := []string{
		plain,
		bare,
		pattern,
		words,
		strings.Map(dropSpace, words),
		strings.Map(dropSpace, strings.Map(dropMarks, plain)),
		strings.Map(dropSpace, strings.Map(dropMarks, pattern)),
	}
	for i, s := range out[:4] {
		if (!printable.IsASCII(s) || strings.Contains(s, "xn--")) && !slices.Contains(out[:i], s) {
			out = append(out, mapDomains(s))
		}
	}
	return out
}

// uncomment removes comments. If nested is set, it knows nested comments, and a parenthesis within
// quotes does not begin a comment. Otherwise it removes the text from each '(' to the next ')', as
// a simple search pattern does.
func uncomment(s string, nested bool) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case nested && c == '\\' && (quoted || depth > 0) && i+1 < len(s):
			i++
			if depth == 0 {
				b.WriteString(s[i-1 : i+1])
			}
		case nested && c == '"' && depth == 0:
			quoted = !quoted
			b.WriteByte(c)
		case c == '(' && !quoted && (nested || depth == 0):
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// dropMarks is a function for strings.Map. It removes quotes, backslashes, angle brackets, control
// and format characters except white space, and octets that are not UTF-8.
func dropMarks(r rune) rune {
	switch {
	case r == '"' || r == '\'' || r == '\\' || r == '<' || r == '>' || r == utf8.RuneError,
		unicode.IsControl(r) && !unicode.IsSpace(r), unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}

// dropSpace is a function for strings.Map. It removes white space.
func dropSpace(r rune) rune {
	if unicode.IsSpace(r) {
		return -1
	}
	return r
}

// mapping maps different spellings of a name to one spelling. It knows the spellings that
// IDNA-aware software treats as the same name: full-width letters, ideographic full stops,
// A-labels.
var mapping = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// mapDomain returns a domain name in U-labels, even if the name is not valid. It does not convert
// to A-labels, because that takes quadratic time in the length of the name, and a stranger chooses
// the length.
func mapDomain(s string) string {
	u, _ := mapping.ToUnicode(s)
	return canonicalID(u)
}

// Limits for the words that mapDomains maps. They are needed because decoding an A-label takes
// quadratic time in its length.
const (
	maxWord  = 4 * 253 // octets of a word
	maxLabel = 63      // octets of each label of a word in ASCII
)

// mapDomains returns s with U-labels in each word that may be a domain name and is not too long for
// one.
func mapDomains(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("\"();/,", r)
	})
	for i, w := range words {
		if len(w) <= maxWord && (!printable.IsASCII(w) || longestLabel(w) <= maxLabel) {
			words[i] = mapDomain(w)
		}
	}
	return strings.Join(words, " ")
}

// longestLabel returns the length of the longest label of name.
func longestLabel(name string) int {
	longest := 0
	for label := range strings.SplitSeq(name, ".") {
		longest = max(longest, len(label))
	}
	return longest
}

// hasWord reports whether s has the word want, which must not be a part of a longer name. Dots
// around want do not make the name longer.
func hasWord(s, want string) bool {
	for from := 0; ; {
		i := strings.Index(s[from:], want)
		if i < 0 {
			return false
		}
		i += from
		before := strings.TrimRight(s[:i], ".")
		after := strings.TrimLeft(s[i+len(want):], ".")
		prev, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(after)
		if (before == "" || !nameRune(prev)) && (after == "" || !nameRune(next)) {
			return true
		}
		from = i + 1
	}
}

// nameRune reports whether r can belong to a label of a domain name.
func nameRune(r rune) bool {
	return r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// lower returns s with the letters A to Z in lower case. mapDomains does the same for other
// letters.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
