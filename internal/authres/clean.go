package authres

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"sekimori/internal/printable"
)

// Limits for a field. A sender chooses domains, selectors, local parts and the number of
// signatures. The field must still be small enough for every MTA and filter on the way. Sendmail
// refuses a header of 32 KiB, and RFC 5322 §2.1.1 forbids lines over 998 octets.
const (
	maxValueLen   = 255 // octets of a value, a comment or a reason, before it is quoted
	maxKeywordLen = 40  // octets of a method, result, ptype or property; the longest registered has 16
	maxResults    = 100 // results in a field
	maxProperties = 32  // properties in a result
	maxFieldLen   = 16 << 10
)

// cleanText returns s with '?' for each character that a field may not have, cut to maxValueLen
// octets. utf8OK says that the field may hold UTF-8 (RFC 6532).
func cleanText(s string, utf8OK bool) string {
	if utf8OK {
		return printable.MarkedUTF8(s, maxValueLen)
	}
	return printable.Marked(s, maxValueLen)
}

// omitted is the comment of a result whose details were left out, because the field would have been
// longer than maxFieldLen with them.
const omitted = "details omitted: too long"

// These sets have the printable ASCII characters that comments, reasons, and values of properties
// may have.
var (
	commentChars = newCharSet(func(c byte) bool { return c >= ' ' && c < 0x7f && strings.IndexByte(`;"\()`, c) < 0 })
	reasonChars  = newCharSet(func(c byte) bool { return c >= ' ' && c < 0x7f && strings.IndexByte(`;"\`, c) < 0 })
	valueChars   = newCharSet(func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(`;"\(),<>=`, c) < 0 })
)

// cleanProse does what cleanText does. It also replaces each ASCII character that is not in set by
// '_'. The result needs no escapes, and has no character that a program could see as the end of an
// authentication result.
func cleanProse(s string, set *charSet, utf8OK bool) string {
	s = cleanText(s, utf8OK)
	for i := 0; i < len(s); i++ {
		if s[i] < utf8.RuneSelf && !set[s[i]] {
			return strings.Map(func(r rune) rune {
				if r < utf8.RuneSelf && !set[r] {
					return '_'
				}
				return r
			}, s)
		}
	}
	return s
}

// isWritable reports whether s can be written as the value of a property. That is the case if every
// program that reads the field sees s as one value and nothing else. Format leaves out all other
// values. If it cut or altered them, they would name another domain or address.
func isWritable(s string, utf8OK bool) bool {
	ascii := true
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			ascii = false
		} else if !valueChars[s[i]] {
			return false
		}
	}
	return s != "" && len(s) <= maxValueLen && (ascii || utf8OK && cleanText(s, true) == s && !startsWithMark(s))
}

// startsWithMark reports whether s begins with a combining mark. A program would see the mark
// joined to the character before it, which is part of the syntax.
func startsWithMark(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return unicode.IsMark(first)
}

// cleanKeyword returns s as a Keyword (RFC 5321 Ldh-str). Sekimori itself chooses the keywords, so
// cleanKeyword changes s only if sekimori has an error. Even then, the field is well-formed.
func cleanKeyword(s string) string {
	if isKeyword(s) {
		return s
	}
	b := []byte(s[:min(len(s), maxKeywordLen)])
	for i, c := range b {
		if !isAlnum(c) {
			b[i] = '-'
		}
	}
	if s = strings.Trim(string(b), "-"); s == "" {
		return "unknown"
	}
	return s
}

// isKeyword reports whether s is a keyword that cleanKeyword would not change.
func isKeyword(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && (s[i] != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != "" && len(s) <= maxKeywordLen
}
