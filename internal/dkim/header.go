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

// fieldIndex finds header fields by name, the lowest first, and keeps the
// relaxed form of those once used, so that any number of signatures costs the
// canonicalization of a field once. Its memory serves one message after the
// other.
type fieldIndex struct {
	header message.Header
	seed   maphash.Seed // nobody can write names that meet in the table
	table  []int32      // by hash: 1 + index into names, 0 is free; a power of two long, half empty
	names  []indexedName
	above  []int32 // by index into header: the next field up of the same name, or none
	next   []int32 // by name: the field that choose takes next
	chosen []int32 // see choose

	text    []byte // relaxed forms
	relaxed []span // by index into header: the part of text, empty until used

	hash hash.Hash
	sum  digest
	buf  []byte
	tags taglist.List // of the field being read
}

// indexedName is one name in a header.
type indexedName struct {
	hash   uint64
	lowest int32 // index into the header
	top    int32
	count  int
}

// none ends a list of fields.
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

// zeroed returns s with n zeros in it.
func zeroed[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// find returns where in the table a name stands, in any case, or belongs.
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

// named returns what is known of a name, nil if no field has it.
func (x *fieldIndex) named(name string) *indexedName {
	slot, _ := x.find(name)
	if id := x.table[slot]; id != 0 {
		return &x.names[id-1]
	}
	return nil
}

// count returns how many fields have a name.
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

// absentPath stands in chosen for a Return-Path that is signed and not there.
const absentPath = int32(-2)

// choose lists the fields that a signature names (RFC 6376 §5.4.2): for each
// name the lowest field not yet taken, nothing if there is none left.
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
				path = true // there is one in a message
				x.chosen = append(x.chosen, absentPath)
			}
			continue
		}
		next := &x.next[id-1]
		if *next == self {
			*next = x.above[self] // it was not there yet when it was signed
		}
		if *next == none {
			continue
		}
		x.chosen = append(x.chosen, *next)
		*next = x.above[*next]
	}
	return x.chosen
}

// signedValues yields the values that a signature covers, the one of its own
// field last, by their place among the bits of form.bare.
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

// headerHash hashes the fields that a signature names and the signature field
// itself with its b= emptied (RFC 6376 §3.7). A field that the MTA may have
// changed on the way to us makes altered true.
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
	own := &x.header[p.Field]
	if p.HeaderCanon == syntax.Relaxed {
		x.buf = appendRelaxedCut(x.buf[:0], own.Name, own.Value, p.BSpan)
	} else {
		x.buf = append(appendSimple(x.buf[:0], own.Name, as.take(own.Value[:p.BSpan.Start])), own.Value[p.BSpan.End:]...)
	}
	x.hash.Write(x.buf)
	x.hash.Sum(x.sum[:0])
	return x.sum, altered
}

// take returns the value of the next field that is hashed as it was.
func (f *form) take(value string) string {
	bare := f.bare&1 != 0
	f.bare >>= 1
	if bare {
		return strings.TrimPrefix(value, " ")
	}
	return value
}

// hashField hashes a field that is not in the header.
func (x *fieldIndex) hashField(c syntax.Canonicalization, name, value string) {
	if c == syntax.Relaxed {
		x.buf = appendRelaxed(x.buf[:0], name, value)
	} else {
		x.buf = appendSimple(x.buf[:0], name, value)
	}
	x.hash.Write(append(x.buf, crlf...))
}

// maxIndexKept bounds the memory of an index kept for the next message, in
// octets or entries of each of its parts.
const maxIndexKept = 16 << 10

// clear lets go of the message. It is false if the index grew too large to keep.
func (x *fieldIndex) clear() bool {
	x.header = nil
	clear(x.tags[:cap(x.tags)])
	return max(cap(x.text), cap(x.buf), cap(x.table), cap(x.chosen)) <= maxIndexKept
}

// span is a part of fieldIndex.text.
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
	return appendRelaxedCut(dst, name, value, syntax.Span{})
}

// appendRelaxedCut is appendRelaxed of a field that lacks a part of its value,
// which stands between "=" and ";" or the end.
func appendRelaxedCut(dst []byte, name, value string, cut syntax.Span) []byte {
	dst = append(appendName(dst, name), ':')
	empty := len(dst)
	dst, wsp := appendReduced(dst, value[:cut.Start], empty, false)
	dst, _ = appendReduced(dst, value[cut.End:], empty, wsp)
	return dst
}

// appendReduced appends a value, or a part of it, with its white space reduced
// to single spaces inside of what began at empty. wsp says that some stands
// before.
func appendReduced(dst []byte, value string, empty int, wsp bool) ([]byte, bool) {
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
	return dst, wsp
}

// trimName: a name may come with the space that stood before its colon.
func trimName(name string) string {
	for name != "" && isWSP(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	return name
}

func appendName(dst []byte, name string) []byte { return appendLower(dst, trimName(name)) }

// isLowerOf reports whether lower is s with A-Z folded.
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

// appendLower appends s with A-Z folded; header field names are ASCII.
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
