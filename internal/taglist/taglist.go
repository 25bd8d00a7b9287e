// Package taglist reads the tag=value lists of RFC 6376 §3.2. DKIM and ARC
// signatures, DKIM keys, DMARC records and BIMI records have this syntax.
//
// [Append] reads strictly, as RFC 6376 asks for: one error makes the whole list
// invalid. [All] yields one tag at a time, so that DMARC can skip those that it
// cannot read (RFC 9989 §4.8).
package taglist

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"sekimori/internal/printable"
)

// Bounds on a list, which may come from anybody.
const (
	// MaxLen is the length of the longest list that is read, in octets. A DNS
	// answer has at most 64 KiB, and the longest header field that MTAs accept is
	// below a megabyte.
	MaxLen = 1 << 20
	// MaxTags is the largest number of tags in one list. The IANA registries name
	// about fifteen tags for each kind of list. The rest of the limit is for
	// unknown tags.
	MaxTags = 128
)

// The errors in a list. Every error from this package wraps one of them.
var (
	ErrTooLong     = errors.New("taglist: list too long")
	ErrTooManyTags = errors.New("taglist: too many tags")
	ErrEmpty       = errors.New("taglist: empty tag")
	ErrNoValue     = errors.New("taglist: tag without an equals sign")
	ErrName        = errors.New("taglist: malformed tag name")
	ErrValue       = errors.New("taglist: octet that no tag value may have")
	ErrDuplicate   = errors.New("taglist: duplicate tag")
)

// Tag is one name=value pair.
type Tag struct {
	// Name is as written: names that differ in case are different (RFC 6376 §3.2).
	Name string
	// Value has no folding white space around it. White space inside the value is
	// as received, folds included.
	Value string
	// Start and End are the offsets in the list of the value with the white space
	// around it: list[:Start] ends in "=", and list[End:] is empty or begins with
	// ";". Package dkim uses them to cut the value of b= out of a signature (RFC
	// 6376 §3.7).
	Start, End int
}

// List is a parsed list in the order written.
type List []Tag

// Append reads a whole list and appends its tags to list. After a syntax error,
// a duplicate name or an exceeded bound it returns only the error (RFC 6376
// §3.2). One ";" at the end is allowed. Tags that were in list before the call
// do not count as duplicates.
func Append(list List, s string) (List, error) {
	if list == nil {
		const usual = 12
		list = make(List, 0, usual)
	}
	before := len(list)
	for tag, err := range All(s) {
		if err != nil {
			return nil, err
		}
		if _, ok := list[before:].Tag(tag.Name); ok { // for at most MaxTags tags this is faster than a map
			return nil, fmt.Errorf("%w: %q", ErrDuplicate, tag.Name)
		}
		list = append(list, tag)
	}
	return list, nil
}

// Get returns the value of the tag called name, and whether the list has the tag:
// an empty value is not the same as an absent tag (RFC 6376 §3.2).
func (l List) Get(name string) (value string, ok bool) {
	tag, ok := l.Tag(name)
	return tag.Value, ok
}

// Tag returns the tag called name, and whether the list has it.
func (l List) Tag(name string) (Tag, bool) {
	for i := range l {
		if l[i].Name == name {
			return l[i], true
		}
	}
	return Tag{}, false
}

// All yields the tags of the list one after the other. For a piece between two
// semicolons that is not a tag, it yields an error and as much of the tag as
// could be read. It does not yield the empty piece after a final ";", and it
// does not look for duplicates. If the list exceeds MaxLen or MaxTags, All
// yields the error last.
func All(s string) iter.Seq2[Tag, error] {
	return func(yield func(Tag, error) bool) {
		if len(s) > MaxLen {
			yield(Tag{}, ErrTooLong)
			return
		}
		for pos, count := 0, 0; ; count++ {
			end := len(s)
			if i := strings.IndexByte(s[pos:], ';'); i >= 0 {
				end = pos + i
			}
			if end == len(s) && count > 0 && trim(s[pos:]) == "" {
				return
			}
			if count == MaxTags {
				yield(Tag{}, ErrTooManyTags)
				return
			}
			if !yield(parseTag(s, pos, end)) || end == len(s) {
				return
			}
			pos = end + 1
		}
	}
}

func parseTag(s string, start, end int) (Tag, error) {
	piece := s[start:end]
	eq := strings.IndexByte(piece, '=')
	if eq < 0 {
		if name := trim(piece); name != "" {
			return Tag{Name: name, Start: end, End: end}, fmt.Errorf("%w: %q", ErrNoValue, printable.Clip(name, quotedLen))
		}
		return Tag{Start: end, End: end}, ErrEmpty
	}
	tag := Tag{Name: trim(piece[:eq]), Value: trim(piece[eq+1:]), Start: start + eq + 1, End: end}
	if !validName(tag.Name) {
		return tag, fmt.Errorf("%w: %q", ErrName, printable.Clip(tag.Name, quotedLen))
	}
	if !validValue(tag.Value) {
		return tag, fmt.Errorf("%w: %s=", ErrValue, printable.Clip(tag.Name, quotedLen))
	}
	return tag, nil
}

// validName checks ALPHA *ALNUMPUNC (RFC 6376 §3.2).
func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		alpha := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alpha && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// validValue accepts VALCHAR and folding white space. It also accepts octets
// from 128 up: RFC 8616 §4 allows UTF-8 in signatures, and the n= notes of some
// key records contain UTF-8.
func validValue(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\r':
			if fold(s[i:]) == 0 {
				return false
			}
			i += 2
		case c < ' ' && c != '\t', c == 0x7f:
			return false
		}
	}
	return true
}

// fold returns 3 if s begins with CRLF and white space, else 0.
func fold(s string) int {
	if len(s) >= 3 && s[0] == '\r' && s[1] == '\n' && (s[2] == ' ' || s[2] == '\t') {
		return 3
	}
	return 0
}

// trim removes folding white space at both ends.
func trim(s string) string {
	for s != "" {
		if s[0] == ' ' || s[0] == '\t' {
			s = s[1:]
		} else if n := fold(s); n > 0 {
			s = s[n:]
		} else {
			break
		}
	}
	for {
		end := len(s)
		for end > 0 && (s[end-1] == ' ' || s[end-1] == '\t') {
			end--
		}
		if end == len(s) || !strings.HasSuffix(s[:end], "\r\n") {
			return s[:end]
		}
		s = s[:end-2]
	}
}

// StripFWS removes all folding white space from a value, as RFC 6376 §3.5 and
// §3.6.1 require for b=, bh= and p=.
func StripFWS(value string) string {
	n := solid(value)
	if n == len(value) {
		return value
	}
	var b strings.Builder
	b.Grow(len(value) - 1)
	for {
		b.WriteString(value[:n])
		for value = value[n:]; value != "" && isFWS(value[0]); {
			value = value[1:]
		}
		if value == "" {
			return b.String()
		}
		n = solid(value)
	}
}

// solid returns the number of octets before the first white space.
func solid(s string) int {
	for i := 0; i < len(s); i++ {
		if isFWS(s[i]) {
			return i
		}
	}
	return len(s)
}

// isFWS reports whether c is folding white space in a value that was read without
// an error: such a value has CR and LF in folds only.
func isFWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// Split cuts a value at sep and removes the folding white space around each
// part, as in h=, q=, s= and t= (RFC 6376 §3.5, §3.6.1). It keeps empty parts.
func Split(value string, sep byte) []string {
	parts := make([]string, 0, strings.Count(value, string(sep))+1)
	for {
		part, rest, more := strings.Cut(value, string(sep))
		parts = append(parts, trim(part))
		if !more {
			return parts
		}
		value = rest
	}
}

// quotedLen is the maximum length, in octets, of a quotation of a list in an error
// message.
const quotedLen = 32
