// Package printable makes text that a stranger wrote safe to print. It is the
// only place with rules for that; what a grammar asks beyond them (the quoting
// of RFC 5322 and RFC 8601, local parts as RFC 6533 §3 writes them) stands in
// the package of that grammar.
//
// Every rule returns valid UTF-8 without control characters, marks that turn the
// direction of text, and the other characters that [IsShown] excludes. Which rule
// applies depends on where the text goes:
//
//   - [Value]: one value in a line for a person. Printable ASCII stays as it is;
//     any other text is written in quotes with escapes, so that look-alikes show.
//   - [Escaped]: a message of ours that may repeat a stranger's octets. It is
//     Value without the quotes.
//   - [Quoted]: a short quotation within a message of ours, always in quotes.
//   - [Marked] and [MarkedUTF8]: one line of a protocol that has no escapes, such
//     as an SMTP reply or the comment of a header field. Each character that may
//     not stand there becomes '?'.
//   - [Text] and [Writer]: text of several lines, and JSON. Line ends, tabs and
//     printable characters of every script stay; others become escapes of JSON.
//
// Only Marked and Quoted have a bound of their own. Where other text must be
// short, [Clip] comes first.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cutMark ends a text that was too long, so that nobody takes the rest for the
// whole text.
const cutMark = "..."

// IsPlain reports whether s consists of printable ASCII characters and spaces.
func IsPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// IsASCII reports whether every octet of s is below 0x80. Control characters are
// ASCII, too.
func IsASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// IsShown reports whether r is U+0020 or a letter, mark, digit, punctuation or symbol.
// Control and format characters (marks of direction, spaces without width), other
// spaces, and code points without a character are not shown.
func IsShown(r rune) bool { return unicode.IsPrint(r) }

// Value returns s as it is if it is printable ASCII. Otherwise it returns s in
// quotes with Go's escapes.
func Value(s string) string {
	if IsPlain(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// Escaped returns s as it is if it is printable ASCII. Otherwise it returns s with
// Go's escapes, without quotes around it.
func Escaped(s string) string {
	if IsPlain(s) {
		return s
	}
	quoted := strconv.QuoteToASCII(s)
	return quoted[1 : len(quoted)-1]
}

// Quoted returns the first limit octets of s in quotes with Go's escapes. If s is
// longer, "..." follows the closing quote.
func Quoted(s string, limit int) string {
	if len(s) > limit {
		return fmt.Sprintf("%+q"+cutMark, s[:limit])
	}
	return fmt.Sprintf("%+q", s)
}

// Clip returns s if it has at most limit octets. Otherwise it returns at most the
// first limit octets and "..."; no character is cut in two. It changes nothing
// else, so the text still needs one of the rules.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && limit-end < utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	if _, size := utf8.DecodeRuneInString(s[end:]); end+size <= limit {
		end = limit // no character of UTF-8 reaches beyond limit
	}
	return s[:end] + cutMark
}

// Marked returns s with '?' for every character that is not printable ASCII, and
// for every octet that is not UTF-8. The result has at most limit octets and ends
// in "..." if s was longer. limit is at least 3. It reads no more of s than it
// needs.
func Marked(s string, limit int) string { return marked(s, limit, false) }

// MarkedUTF8 is Marked, but keeps the characters of other scripts that are shown.
func MarkedUTF8(s string, limit int) string { return marked(s, limit, true) }

func marked(s string, limit int, utf8OK bool) string {
	if len(s) <= limit && IsPlain(s) {
		return s
	}
	var b strings.Builder
	cut := 0 // the last end of a character that leaves space for cutMark
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		if r >= utf8.RuneSelf && (!utf8OK || !IsShown(r) || r == utf8.RuneError && size == 1) || r < ' ' || r == 0x7f {
			r = '?'
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			return b.String()[:cut] + cutMark
		}
		b.WriteRune(r)
		if b.Len() <= limit-len(cutMark) {
			cut = b.Len()
		}
		i += size
	}
	return b.String()
}
