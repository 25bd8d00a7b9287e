package authres

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"sekimori/internal/printable"
)

// maxHeadLen is the longest beginning of a field that can still be somebody
// else's authserv-id, in octets. No genuine one comes near it.
const maxHeadLen = 2 << 10

// IDs are the authserv-ids of one host, or of several that stand for one. The
// zero value is none. Safe for concurrent use.
type IDs struct {
	ids   []string // canonical
	words []string // what is looked for in a text: those of ids that can stand there, and their U-labels
}

// NewIDs returns IDs of these.
func NewIDs(ids ...string) IDs {
	var n IDs
	for _, id := range ids {
		want := canonicalID(id)
		n.ids = append(n.ids, want)
		if want == "" || len(want) > maxHeadLen {
			continue
		}
		n.words = append(n.words, want)
		if u := mapDomain(want); u != want {
			n.words = append(n.words, u)
		}
	}
	return n
}

// Claimed reports whether the value of an Authentication-Results field may be
// taken, by any plausible reader, as written by a host whose authserv-id is
// one of the ids; such a field from outside is forged and must go (RFC 8601 §5).
//
// The value need not be well-formed. What comes before the first ';' is read
// in every way a careful or a careless reader might: comments, quotes and
// escapes understood or not, white space, control and 8-bit octets dropped,
// internationalized names decoded. If an id then stands there as a whole word,
// whatever else does, the field claims it. An id that only contains ours as a
// part, such as mx.example.jp.attacker.net, does not. What begins there with an
// encoded-word (RFC 2047) may be anybody's: no authserv-id needs one, some
// readers decode it, and the charsets they know are many more than ours. The
// cost is linear in the value's length.
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
		return true // unbalanced, or made to hide something
	}
	if i := strings.Index(head, wordBegin); i >= 0 && encoded(value[i:]) {
		return true // the word may go on where the head ends
	}
	return n.named(head)
}

// The ends of an encoded-word.
const wordBegin, wordEnd = "=?", "?="

// encoded reports whether text may hold an encoded-word.
func encoded(text string) bool {
	_, after, found := strings.Cut(text, wordBegin)
	return found && strings.Contains(after, wordEnd)
}

// named reports whether an id stands in text as a whole word, in any reading.
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

// canonicalID is the form in which two ids are compared: readers ignore case
// and often a trailing dot.
func canonicalID(id string) string { return strings.TrimRight(lower(id), ".") }

// syntax is what a reader understands.
type syntax struct{ quotes, comments, escapes bool }

// headLen returns the length of the longest text that some reader could take
// for the part before the results.
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

// head returns the offset of the first ';' that ends a head with a letter or
// digit in it, or the value's length.
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

// readings returns the texts different readers would make of head, in lower
// case.
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

// uncomment removes comments: nested and with quotes respected, or as a simple
// pattern would, from '(' to the next ')'.
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

// dropMarks removes quotes, backslashes, control octets other than white
// space, and octets that are no UTF-8.
func dropMarks(r rune) rune {
	switch {
	case r == '"' || r == '\'' || r == '\\' || r == '<' || r == '>' || r == utf8.RuneError,
		unicode.IsControl(r) && !unicode.IsSpace(r), unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}

func dropSpace(r rune) rune {
	if unicode.IsSpace(r) {
		return -1
	}
	return r
}

// mapping maps what IDNA-aware software takes for the same name: full-width
// letters, ideographic full stops, A-labels.
var mapping = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// mapDomain brings a domain name to U-labels, whatever is wrong with it. To make
// A-labels of a stranger's text would cost the square of its length.
func mapDomain(s string) string {
	u, _ := mapping.ToUnicode(s)
	return canonicalID(u)
}

// Bounds on what is mapped: to read an A-label costs the square of its length,
// too.
const (
	maxWord  = 4 * 253 // octets of a name
	maxLabel = 63      // octets of a label in ASCII
)

// mapDomains brings every word of s that may be a domain name to U-labels.
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

// longestLabel is the length of the longest label of a name.
func longestLabel(name string) int {
	longest := 0
	for label := range strings.SplitSeq(name, ".") {
		longest = max(longest, len(label))
	}
	return longest
}

// hasWord reports whether want stands in s with nothing before or after it
// that would make it a part of a longer name; dots around it do not.
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

// nameRune reports a character that can belong to a domain name's label.
func nameRune(r rune) bool {
	return r == '-' || r == '_' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

// lower folds A-Z only: other folding is mapDomains' matter.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
