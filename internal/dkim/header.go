package dkim

import (
	"crypto/sha256"
	"strings"

	"sekimori/internal/message"
)

// fieldIndex finds header fields by name, the lowest first, and keeps the
// relaxed form of those once used, so that any number of signatures costs the
// canonicalization of a field once.
type fieldIndex struct {
	header  message.Header
	ids     map[string]int32 // lower-case name to position in fields
	fields  [][]int32        // for each name, indices into header, the lowest field first
	relaxed [][]byte         // by index into header, nil until used
}

func newFieldIndex(h message.Header) *fieldIndex {
	x := &fieldIndex{header: h, ids: make(map[string]int32), relaxed: make([][]byte, len(h))}
	var lower []byte
	for i := len(h) - 1; i >= 0; i-- {
		// A name may come with the space that stood before its colon.
		lower = appendLower(lower[:0], strings.TrimRight(h[i].Name, " \t"))
		id, ok := x.ids[string(lower)]
		if !ok {
			id = int32(len(x.fields))
			x.ids[string(lower)] = id
			x.fields = append(x.fields, nil)
		}
		x.fields[id] = append(x.fields[id], int32(i))
	}
	return x
}

// named returns the indices of the fields called name, given in lower case,
// the lowest in the header first.
func (x *fieldIndex) named(name string) []int32 {
	id, ok := x.ids[name]
	if !ok {
		return nil
	}
	return x.fields[id]
}

// relaxedField returns the relaxed form of one field with its CRLF.
func (x *fieldIndex) relaxedField(i int) []byte {
	if x.relaxed[i] == nil {
		f := x.header[i]
		x.relaxed[i] = append(appendRelaxed(make([]byte, 0, len(f.Name)+len(f.Value)+3), f.Name, f.Value), crlf...)
	}
	return x.relaxed[i]
}

// headerHash hashes the fields that a signature names and the signature field
// itself with its b= emptied (RFC 6376 §3.7, §5.4.2): for each name the lowest
// field not yet taken, nothing if there is none left. A field that the MTA may
// have changed on the way to us makes altered true.
func (x *fieldIndex) headerHash(c Canonicalization, names []string, self int, b span) (sum digest, altered bool) {
	h := sha256.New()
	taken := make([]int32, len(x.fields)) // by name: how many were used
	var buf []byte
	for _, name := range names {
		buf = appendLower(buf[:0], name)
		id, ok := x.ids[string(buf)]
		if !ok {
			continue
		}
		list := x.fields[id]
		if int(taken[id]) < len(list) && int(list[taken[id]]) == self {
			taken[id]++ // it was not there yet when it was signed
		}
		if int(taken[id]) >= len(list) {
			continue
		}
		i := int(list[taken[id]])
		taken[id]++
		altered = altered || alteredByMTA(x.header[i])
		if c == Relaxed {
			h.Write(x.relaxedField(i))
		} else {
			buf = append(appendSimple(buf[:0], x.header[i].Name, x.header[i].Value), crlf...)
			h.Write(buf)
		}
	}
	own := x.header[self]
	value := own.Value[:b.start] + own.Value[b.end:]
	if c == Relaxed {
		buf = appendRelaxed(buf[:0], own.Name, value)
	} else {
		buf = appendSimple(buf[:0], own.Name, value)
	}
	h.Write(buf)
	h.Sum(sum[:0])
	return sum, altered
}

// span is the part of a field's value that holds b=.
type span struct{ start, end int }

// truncatedLen is the field length from which on a milter must expect that
// Postfix cut the field off: its limit is 60,000 octets, and 59,539 arrived of
// a field that was longer.
const truncatedLen = 59_000

// alteredByMTA tells a field that a milter cannot have seen as it was signed:
// long enough to have been truncated, or with octets that MTAs replace or
// strip in some versions and not in others.
func alteredByMTA(f message.Field) bool {
	if len(f.Name)+len(f.Value) >= truncatedLen {
		return true
	}
	for v := f.Value; ; {
		i := strings.IndexAny(v, "\x00\r\n")
		if i < 0 {
			return false
		}
		v = v[i:]
		if len(v) < 3 || v[0] != '\r' || v[1] != '\n' || !isWSP(v[2]) {
			return true
		}
		v = v[3:]
	}
}

// appendSimple appends a field as it is (RFC 6376 §3.4.1), without CRLF.
func appendSimple(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':')
	return append(dst, value...)
}

// appendRelaxed appends a field in relaxed form (RFC 6376 §3.4.2), without
// CRLF.
func appendRelaxed(dst []byte, name, value string) []byte {
	dst = append(appendLower(dst, strings.TrimRight(name, " \t")), ':')
	empty := len(dst)
	wsp := false
	for i := 0; i < len(value); {
		c := value[i]
		switch {
		case isWSP(c):
			wsp = true
			i++
		case c == '\r' && i+2 < len(value) && value[i+1] == '\n' && isWSP(value[i+2]):
			i += 2 // a fold; its white space comes next
		default:
			if wsp && len(dst) > empty {
				dst = append(dst, ' ')
			}
			wsp = false
			start := i
			for i++; i < len(value) && !isWSP(value[i]) && value[i] != '\r'; i++ {
			}
			dst = append(dst, value[start:i]...)
		}
	}
	return dst
}

func isWSP(c byte) bool { return c == ' ' || c == '\t' }

// appendLower appends s with A-Z folded; header field names are ASCII.
func appendLower(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
