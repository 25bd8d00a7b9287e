package authres

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"sekimori/internal/printable"
)

// Bounds on what is written. A sender chooses domains, selectors, local parts
// and how many signatures there are; the field must stay small enough for
// every MTA and filter on the way (Sendmail refuses 32 KiB of header, RFC 5322
// §2.1.1 lines over 998).
const (
	maxValueLen   = 255 // octets of a value, comment or reason before quoting
	maxKeywordLen = 40  // octets of a method, result, ptype or property; the longest registered has 16
	maxResults    = 100 // results of a field
	maxProperties = 32  // properties of a result
	maxFieldLen   = 16 << 10
)

// cleanText is s as a field may hold it: bounded, and with '?' for what may not stand
// in it. utf8OK says that the field may hold UTF-8 (RFC 6532).
func cleanText(s string, utf8OK bool) string {
	if utf8OK {
		return printable.MarkedUTF8(s, maxValueLen)
	}
	return printable.Marked(s, maxValueLen)
}

// omitted is the comment of a result that had to lose its details to keep the
// field within maxFieldLen.
const omitted = "details omitted: too long"

// The printable ASCII characters of comments, of reasons, and of the values of
// properties.
var (
	commentChars = newCharSet(func(c byte) bool { return c >= ' ' && c < 0x7f && strings.IndexByte(`;"\()`, c) < 0 })
	reasonChars  = newCharSet(func(c byte) bool { return c >= ' ' && c < 0x7f && strings.IndexByte(`;"\`, c) < 0 })
	valueChars   = newCharSet(func(c byte) bool { return c > ' ' && c < 0x7f && strings.IndexByte(`;"\(),<>=`, c) < 0 })
)

// cleanProse is cleanText of the ASCII characters in set alone: nothing is left
// to escape, and nothing that a reader could take for the end of a result.
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

// isWritable reports a value that can stand in a field without a reader taking
// it, or a part of it, for anything else. What cannot is not written at all: cut
// or altered, it would be the name of somebody else.
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

// startsWithMark reports a combining mark, which would join the octet of ours
// before it.
func startsWithMark(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return unicode.IsMark(first)
}

// cleanKeyword forces s into a Keyword (RFC 5321 Ldh-str): keywords are the
// program's own, this only keeps a mistake from damaging the field.
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

// isKeyword reports what cleanKeyword leaves as it is.
func isKeyword(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isAlnum(s[i]) && (s[i] != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != "" && len(s) <= maxKeywordLen
}
