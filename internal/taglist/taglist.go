// Package taglist reads the tag=value lists of RFC 6376 §3.2, the syntax that
// DKIM and ARC signatures, DKIM keys, DMARC and BIMI records share.
//
// [Parse] is the strict reading that RFC 6376 asks for: any error spoils the
// list. [All] hands out piece by piece for DMARC, which ignores what it cannot
// read after the version (RFC 9989 §4.8).
package taglist

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"sekimori/internal/printable"
)

// Bounds on what a stranger may hand in.
const (
	// MaxLen is the longest list read, in octets. A DNS answer holds 64 KiB;
	// the longest header field an MTA lets through stays under a megabyte.
	MaxLen = 1 << 20
	// MaxTags is the most tags of one list. The registries know about fifteen
	// for each user of the syntax; the rest is room for unknown ones.
	MaxTags = 128
)

// What can be wrong with a list; errors from this package wrap one of these.
var (
	ErrTooLong     = errors.New("taglist: list too long")
	ErrTooManyTags = errors.New("taglist: too many tags")
	ErrEmpty       = errors.New("taglist: empty tag")
	ErrNoValue     = errors.New("taglist: tag without an equals sign")
	ErrName        = errors.New("taglist: malformed tag name")
	ErrValue       = errors.New("taglist: octet that no tag value may hold")
	ErrDuplicate   = errors.New("taglist: duplicate tag")
)

// Tag is one name=value pair.
type Tag struct {
	// Name is as written: names compare with case (RFC 6376 §3.2).
	Name string
	// Value is without the folding white space around it; white space inside
	// is kept as it came, folds included.
	Value string
	// Start and End bound the whole value in the list, the white space around
	// it included: list[:Start] ends in "=" and list[End:] is empty or begins
	// with ";". A signature's b= is emptied this way (RFC 6376 §3.7).
	Start, End int
}

// List is a parsed list in the order written.
type List []Tag

// Parse reads a whole list. A syntax error, a duplicate name or an exceeded
// bound spoils the list (RFC 6376 §3.2); one ";" at the end is allowed. The
// error wraps one of this package's errors.
func Parse(s string) (List, error) { return Append(nil, s) }

// Append is Parse that appends the tags to list, whose tags do not count.
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
		if _, ok := list[before:].Tag(tag.Name); ok { // at most MaxTags: cheaper than a map
			return nil, fmt.Errorf("%w: %q", ErrDuplicate, tag.Name)
		}
		list = append(list, tag)
	}
	return list, nil
}

// Get returns the value of the tag called name, and whether the tag is there:
// an empty value differs from an absent tag (RFC 6376 §3.2).
func (l List) Get(name string) (value string, ok bool) {
	tag, ok := l.Tag(name)
	return tag.Value, ok
}

// Tag returns the tag called name, and whether it is there.
func (l List) Tag(name string) (Tag, bool) {
	for i := range l {
		if l[i].Name == name {
			return l[i], true
		}
	}
	return Tag{}, false
}

// All yields each piece of the list between semicolons, with an error if the
// piece is no tag; what could be read of it is in the Tag. The empty piece
// after a final ";" is not yielded. Duplicates are the caller's affair. When a
// bound is exceeded the last pair yielded says so.
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

// validValue checks for VALCHAR and folding white space. Octets from 128 up are
// let through: RFC 8616 §4 allows UTF-8 in signatures and the notes of keys
// have always held it.
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

// StripFWS removes all folding white space from a value, as b=, bh= and p= ask
// (RFC 6376 §3.5, §3.6.1).
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

// solid is how many octets stand before the first white space.
func solid(s string) int {
	for i := 0; i < len(s); i++ {
		if isFWS(s[i]) {
			return i
		}
	}
	return len(s)
}

// isFWS tells folding white space in a value that passed Parse: CR and LF stand
// in folds only.
func isFWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// Split cuts a value at sep and removes the folding white space around each
// part, as in h=, q=, s= and t= (RFC 6376 §3.5, §3.6.1). Empty parts stay.
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

// quotedLen is how many octets of a stranger's text an error repeats.
const quotedLen = 32
