package dkim

import (
	"crypto/sha256"
	"hash"
	"hash/maphash"
	"iter"
	"strings"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/message"
	"sekimori/internal/taglist"
)

// fieldIndex finds header fields by name, from the lowest upwards. It keeps the
// relaxed form of each field that was used, so that a field is canonicalized
// once for any number of signatures. The memory of an index is used again for
// later messages.
type fieldIndex struct {
	header message.Header
	seed   maphash.Seed // random, so that nobody can craft header names that collide in the table
	table  []int32      // hash table: 1 + index into names, 0 for a free place; the length is a power of two, and at least half is free
	names  []indexedName
	above  []int32 // by index into header: the next field of the same name further up, or none
	next   []int32 // by index into names: the field of this name that choose takes next, or none
	chosen []int32 // memory for the result of choose

	text    []byte // relaxed forms of the fields used so far, one after the other
	relaxed []span // relaxed[i] is where in text the field header[i] is; empty until the field is used

	hash hash.Hash
	sum  digest
	buf  []byte
	tags taglist.List // memory for the tags of the signature that is parsed
}

// indexedName is a field name that occurs in the header.
type indexedName struct {
	hash   uint64
	lowest int32 // index into the header of the lowest field with this name
	top    int32
	count  int
}

// none marks the end of a list of fields.
const none = int32(-1)

func newFieldIndex() *fieldIndex {
	const usualTags = 12
	return &fieldIndex{seed: maphash.MakeSeed(), hash: sha256.New(), tags: make(taglist.List, 0, usualTags)}
}

// build indexes a header.
func (x *fieldIndex) build(h message.Header) {
	const fewest = 16
	size := fewest
	for size < 2*len(h) {
		size *= 2
	}
	x.header = h
	x.table = zeroed(x.table, size)
	x.relaxed = zeroed(x.relaxed, len(h))
	x.above = zeroed(x.above, len(h))
	x.names, x.text = x.names[:0], x.text[:0]
	for i := len(h) - 1; i >= 0; i-- {
		x.above[i] = none
		slot, hash := x.find(h[i].Name)
		if id := x.table[slot]; id != 0 {
			n := &x.names[id-1]
			x.above[n.top] = int32(i)
			n.top = int32(i)
			n.count++
			continue
		}
		x.names = append(x.names, indexedName{hash: hash, lowest: int32(i), top: int32(i), count: 1})
		x.table[slot] = int32(len(x.names))
	}
}

// zeroed returns a slice of n zeros, in the memory of s if it is large enough.
func zeroed[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// find returns the slot of a name in the table. If the name is not in the table,
// this is the slot where it has to be put. Names compare without regard to case.
func (x *fieldIndex) find(name string) (slot int, hash uint64) {
	x.buf = appendName(x.buf[:0], name)
	hash = maphash.Bytes(x.seed, x.buf)
	mask := len(x.table) - 1
	for slot = int(hash) & mask; ; slot = (slot + 1) & mask {
		id := x.table[slot]
		if id == 0 {
			return slot, hash
		}
		if n := &x.names[id-1]; n.hash == hash && isLowerOf(x.buf, trimName(x.header[n.lowest].Name)) {
			return slot, hash
		}
	}
}

// named returns the entry of a name, or nil if no field has the name.
func (x *fieldIndex) named(name string) *indexedName {
	slot, _ := x.find(name)
	if id := x.table[slot]; id != 0 {
		return &x.names[id-1]
	}
	return nil
}

// count returns the number of fields with a name.
func (x *fieldIndex) count(name string) int {
	if n := x.named(name); n != nil {
		return n.count
	}
	return 0
}

// appendNamed appends the indices of the fields called name, the topmost first.
func (x *fieldIndex) appendNamed(dst []int, name string) []int {
	n := x.named(name)
	if n == nil {
		return dst
	}
	dst = append(dst, make([]int, n.count)...)
	for i, at := len(dst)-1, n.lowest; at != none; i, at = i-1, x.above[at] {
		dst[i] = int(at)
	}
	return dst
}

// relaxedField returns the relaxed form of one field with its CRLF.
func (x *fieldIndex) relaxedField(i int) []byte {
	s := &x.relaxed[i]
	if s.end == 0 {
		s.start = len(x.text)
		f := &x.header[i]
		x.text = append(appendRelaxed(x.text, f.Name, f.Value), crlf...)
		s.end = len(x.text)
	}
	return x.text[s.start:s.end]
}

// absentPath stands in the list "chosen", in place of a field's index, if h= names
// Return-Path and the message has no such field.
const absentPath = int32(-2)

// choose lists the fields that a signature covers. For each name in h= it takes
// the lowest field with this name that it has not taken yet, and nothing if no
// field is left (RFC 6376 §5.4.2).
func (x *fieldIndex) choose(p *Pending) []int32 {
	self := int32(p.Field)
	x.chosen, x.next = x.chosen[:0], x.next[:0]
	for i := range x.names {
		x.next = append(x.next, x.names[i].lowest)
	}
	path := false
	for _, name := range p.Headers {
		slot, _ := x.find(name)
		id := x.table[slot]
		if id == 0 {
			if !path && strings.EqualFold(returnPathField, name) {
				path = true // a message has one Return-Path at most
				x.chosen = append(x.chosen, absentPath)
			}
			continue
		}
		next := &x.next[id-1]
		if *next == self {
			*next = x.above[self] // the signature's field was not there yet when its text was signed
		}
		if *next == none {
			continue
		}
		x.chosen = append(x.chosen, *next)
		*next = x.above[*next]
	}
	return x.chosen
}

// signedValues yields the values of the fields that a signature covers, each
// with the number of its bit in form.bare. The value of the signature's own
// field comes last.
func (x *fieldIndex) signedValues(p *Pending) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		slot := 0
		for _, i := range append(x.choose(p), int32(p.Field)) {
			if i == absentPath {
				continue
			}
			if !yield(slot, x.header[i].Value) {
				return
			}
			slot++
		}
	}
}

// headerHash hashes the fields that a signature covers and then the signature's
// own field with b= emptied (RFC 6376 §3.7). The parameter "as" is the form of
// the message that is assumed. altered is true if the MTA may have changed one of
// the fields.
func (x *fieldIndex) headerHash(p *Pending, as form) (sum digest, altered bool) {
	x.hash.Reset()
	for _, i := range x.choose(p) {
		if i == absentPath {
			if as.returnPath != "" {
				x.hashField(p.HeaderCanon, "Return-Path", " "+as.returnPath)
			}
			continue
		}
		f := &x.header[i]
		altered = altered || alteredByMTA(*f)
		if p.HeaderCanon == syntax.Relaxed {
			x.hash.Write(x.relaxedField(int(i)))
		} else {
			x.buf = append(appendSimple(x.buf[:0], f.Name, as.take(f.Value)), crlf...)
			x.hash.Write(x.buf)
		}
	}
	self := &x.header[p.Field]
	if p.HeaderCanon == syntax.Relaxed {
		x.buf = appendRelaxedCut(x.buf[:0], self.Name, self.Value, p.BSpan)
	} else {
		x.buf = append(appendSimple(x.buf[:0], self.Name, as.take(self.Value[:p.BSpan.Start])), self.Value[p.BSpan.End:]...)
	}
	x.hash.Write(x.buf)
	x.hash.Sum(x.sum[:0])
	return x.sum, altered
}

// take returns the value that the next field has in this form of the message. It
// must be called once for each field that is hashed, in order, because each call
// uses up one bit of f.bare.
func (f *form) take(value string) string {
	bare := f.bare&1 != 0
	f.bare >>= 1
	if bare {
		return strings.TrimPrefix(value, " ")
	}
	return value
}

// hashField hashes a field that is not part of the header.
func (x *fieldIndex) hashField(c syntax.Canonicalization, name, value string) {
	if c == syntax.Relaxed {
		x.buf = appendRelaxed(x.buf[:0], name, value)
	} else {
		x.buf = appendSimple(x.buf[:0], name, value)
	}
	x.hash.Write(append(x.buf, crlf...))
}

// An index is kept for the next message only if none of its parts has more than
// maxIndexKept octets or entries.
const maxIndexKept = 16 << 10

// clear drops the pointers to the message. It returns false if the index has
// grown too large to be kept.
func (x *fieldIndex) clear() bool {
	x.header = nil
	clear(x.tags[:cap(x.tags)])
	return max(cap(x.text), cap(x.buf), cap(x.table), cap(x.chosen)) <= maxIndexKept
}

// span is a part of fieldIndex.text.
type span struct{ start, end int }

// truncatedLen is the length of the shortest field that Postfix may have
// truncated. Postfix's limit is 60,000 octets. When a longer field was tried,
// 59,539 octets of it arrived.
const truncatedLen = 59_000

// alteredByMTA reports whether the MTA may have changed a field before the milter
// saw it: the field is long enough to have been cut off, or it has octets that
// some versions of MTAs replace or remove.
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
	return appendRelaxedCut(dst, name, value, syntax.Span{})
}

// appendRelaxedCut is like appendRelaxed, but leaves out one part of the value.
// cut says where this part is: after "=", and before ";" or the end.
func appendRelaxedCut(dst []byte, name, value string, cut syntax.Span) []byte {
	dst = append(appendName(dst, name), ':')
	empty := len(dst)
	dst, wsp := appendReduced(dst, value[:cut.Start], empty, false)
	dst, _ = appendReduced(dst, value[cut.End:], empty, wsp)
	return dst
}

// appendReduced appends a part of a value with its white space reduced to single
// spaces. The whole value begins at dst[empty:]. White space at the beginning of
// the value is dropped. wsp says whether white space came right before this
// part. The second result says whether this part ends with white space.
func appendReduced(dst []byte, value string, empty int, wsp bool) ([]byte, bool) {
	for i := 0; i < len(value); {
		c := value[i]
		switch {
		case isWSP(c):
			wsp = true
			i++
		case c == '\r' && i+2 < len(value) && value[i+1] == '\n' && isWSP(value[i+2]):
			i += 2 // skip the line end of a fold; the white space after it comes next
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
	return dst, wsp
}

// trimName removes the white space that may be between a name and its colon.
func trimName(name string) string {
	for name != "" && isWSP(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	return name
}

func appendName(dst []byte, name string) []byte { return appendLower(dst, trimName(name)) }

// isLowerOf reports whether lower is s with A-Z in lower case.
func isLowerOf(lower []byte, s string) bool {
	if len(lower) != len(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if lower[i] != toLower(s[i]) {
			return false
		}
	}
	return true
}

func isWSP(c byte) bool { return c == ' ' || c == '\t' }

// appendLower appends s with A-Z in lower case. Header field names are ASCII.
func appendLower(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		dst = append(dst, toLower(s[i]))
	}
	return dst
}

func toLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
