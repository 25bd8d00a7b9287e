package authres

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"sekimori/internal/printable"
)

// Bounds on a field. A sender chooses domains, selectors, local parts and the number
// of signatures. The field must still be small enough for every MTA and filter on the
// way: Sendmail refuses 32 KiB of header, and RFC 5322 §2.1.1 lines over 998 octets.
const (
	maxValueLen   = 255 // octets of a value, comment or reason before quoting
	maxKeywordLen = 40  // octets of a method, result, ptype or property; the longest registered has 16
	maxResults    = 100 // results of a field
	maxProperties = 32  // properties of a result
	maxFieldLen   = 16 << 10
)

// cleanText returns s as a field may hold it: bounded, and with '?' for characters that
// may not stand in it. utf8OK says that the field may hold UTF-8 (RFC 6532).
func cleanText(s string, utf8OK bool) string {
	if utf8OK {
		return printable.MarkedUTF8(s, maxValueLen)
	}
	return printable.Marked(s, maxValueLen)
}

// omitted is the comment of a result whose details were left out, because the field
// would have been longer than maxFieldLen.
const omitted = "details omitted: too long"

// The printable ASCII characters that stay as they are in comments, in reasons, and
// in the values of properties.
var (
	commentChars = newCharSet(func(c byte) bool { return c >= ' ' && c < 0x7f && strings.IndexByte(`;"\()`, c) < 0 })
	reasonChars  = newCharSet(func(c byte) bool { return c >= ' ' && c < 0x7f && strings.IndexByte(`;"\`, c) < 0 })
	valueChars   = newCharSet(func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(`;"\(),<>=`, c) < 0 })
)

// cleanProse is cleanText, and replaces the ASCII characters that are not in set by
// '_'. The result needs no escapes, and holds nothing that a reader could take for the
// end of a result.
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

// isWritable reports whether no reader can take the value s, or a part of it, for
// anything else in a field. Other values are not written at all: a value that was cut
// or altered would name somebody else.
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

// startsWithMark reports whether s begins with a combining mark. A reader would see
// it joined to the character before it, which is ours.
func startsWithMark(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return unicode.IsMark(first)
}

// cleanKeyword returns s as a Keyword (RFC 5321 Ldh-str). Keywords are the program's
// own; this only keeps a mistake in it from damaging the field.
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

// isKeyword reports whether s is a keyword, which cleanKeyword leaves as it is.
func isKeyword(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && (s[i] != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != "" && len(s) <= maxKeywordLen
}
