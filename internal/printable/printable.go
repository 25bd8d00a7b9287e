// Package printable makes text that a stranger wrote safe to print. The general rules for that are
// here. A grammar may have further rules, for example for the quoting of RFC 5322 and RFC 8601, or
// for the local parts of RFC 6533 §3. Those rules are in the package of that grammar.
//
// Each function in the list below returns valid UTF-8 without control characters, marks that turn
// the direction of text, and the other characters that [IsShown] excludes. The only exceptions are
// the line ends and tabs that Text and Writer keep. Which function to use depends on where the text
// goes:
//
//   - [Value]: one value in a line for a person. Printable ASCII stays as it is. Any other text is
//     written in quotes with escapes, so that a person notices characters that only look like
//     ASCII.
//   - [Escaped]: a message of the program that may repeat octets of a stranger. It is like Value,
//     but without the quotes.
//   - [Quoted]: a short quotation within a message of the program, always in quotes.
//   - [Marked] and [MarkedUTF8]: one line of a protocol that has no escapes, such as an SMTP reply
//     or the comment of a header field. Each character that is not allowed there becomes '?'.
//   - [Text] and [Writer]: text of several lines, and JSON. Line ends, tabs and printable
//     characters of every script stay. All other characters become escapes of JSON.
//
// Only Marked, MarkedUTF8 and Quoted limit the length of the text. If another text must be short,
// call [Clip] first.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cutMark is the end of a text that was cut. It tells the reader that the text was longer.
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

// IsShown reports whether r is U+0020 or a letter, mark, digit, punctuation or symbol. It reports
// false for control characters, format characters (marks of direction, spaces without width), all
// other spaces, and code points without a character.
func IsShown(r rune) bool { return unicode.IsPrint(r) }

// Counted returns a number with the noun behind it, in the singular or plural.
func Counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

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

// Clip returns s if it has at most limit octets. Otherwise it returns at most the first limit
// octets, without cutting a character in two, and "...". Clip changes nothing else: the result is
// as unsafe to print as s.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > 0 && limit-end < utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	if _, size := utf8.DecodeRuneInString(s[end:]); end+size <= limit {
		end = limit // limit does not cut a valid character in two
	}
	return s[:end] + cutMark
}

// Marked returns s with '?' for every character that is not printable ASCII, and for every octet
// that is not UTF-8. If s is longer than limit octets, the result is cut to limit octets and ends
// in "...". limit must be at least 3. Marked reads only as much of s as it needs.
func Marked(s string, limit int) string { return marked(s, limit, false) }

// MarkedUTF8 is Marked, but keeps the characters beyond ASCII that IsShown accepts.
func MarkedUTF8(s string, limit int) string { return marked(s, limit, true) }

func marked(s string, limit int, utf8OK bool) string {
	if len(s) <= limit && IsPlain(s) {
		return s
	}
	var b strings.Builder
	cut := 0 // where to cut b if the text is too long, so that cutMark still fits
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
