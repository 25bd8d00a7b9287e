package recent

import (
	"encoding/binary"
	"math"
	"reflect"
)

// The limits for one value in a copy. A text that was cut ends with "...".
const (
	maxTextBytes = 4 << 10 // octets of a text; usual DMARC and SPF records are shorter
	maxElements  = 200     // elements of a list; usual SPF traces are shorter
)

// minRepeated is the length in octets from which on a repeated text is not written again.
const minRepeated = 3

// cutMark ends a text that was cut.
const cutMark = "..."

// encoder writes one decision, and counts the memory that the values take once they are read
// again. If that exceeds the limit, the encoder leaves out the rest.
type encoder struct {
	*codecs
	out       []byte
	limit     int // octets that the values may take in total
	used      int // octets that the values take so far, approximately
	truncated bool
	maps      []element // for each map type, room for the element that is being written
	// texts has texts that were written. The hash of a text is its index. Of several texts with
	// the same hash, only the last is kept.
	texts [slots]written
}

// slots is the number of texts that an encoder remembers.
const slots = 64

// written says where a text is in encoder.out: where its length begins, where the text begins,
// and how many octets it has.
type written struct{ before, at, size int }

// element is a key and an element of a map.
type element struct{ key, value reflect.Value }

func newEncoder(c *codecs) *encoder {
	e := &encoder{codecs: c}
	for _, m := range c.maps {
		e.maps = append(e.maps, element{reflect.New(m.key.of).Elem(), reflect.New(m.element.of).Elem()})
	}
	return e
}

// begin prepares the encoder for the next decision.
func (e *encoder) begin() {
	e.out, e.limit, e.used, e.truncated = e.out[:0], maxDecisionBytes, 0, false
	e.texts = [slots]written{}
}

// put writes the value that v points to.
func put[T any](e *encoder, v *T) {
	c := e.known[reflect.TypeFor[T]()]
	e.used += c.size
	e.value(c, reflect.ValueOf(v).Elem())
}

// optional writes whether v is nil. If v is not nil, the value that v points to follows.
func optional[T any](e *encoder, v *T) {
	if e.flag(v != nil); v != nil {
		put(e, v)
	}
}

// reserve adds n octets to used. If that would exceed the limit, reserve adds nothing and
// returns false.
func (e *encoder) reserve(n int) bool {
	if e.used+n > e.limit {
		e.truncated = true
		return false
	}
	e.used += n
	return true
}

func (e *encoder) flag(b bool) {
	if b {
		e.out = append(e.out, 1)
	} else {
		e.out = append(e.out, 0)
	}
}

// value writes v. The caller has already counted the memory of v itself.
func (e *encoder) value(c *codec, v reflect.Value) {
	switch c.kind {
	case reflect.String:
		e.text(v.String())
	case reflect.Bool:
		e.flag(v.Bool())
	case reflect.Int, reflect.Int64:
		e.out = binary.AppendVarint(e.out, v.Int())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		e.out = binary.AppendUvarint(e.out, v.Uint())
	case reflect.Float64:
		e.out = binary.BigEndian.AppendUint64(e.out, math.Float64bits(v.Float()))
	case reflect.Pointer:
		there := !v.IsNil() && e.reserve(c.element.size)
		if e.flag(there); there {
			e.value(c.element, v.Elem())
		}
	case reflect.Slice:
		e.list(c, v)
	case reflect.Map:
		e.table(c, v)
	default: // a struct; codecs.learn refuses all other types
		e.structure(c, v)
	}
}

func (e *encoder) structure(c *codec, v reflect.Value) {
	if c.opaque {
		at := len(e.out)
		e.out = append(e.out, 0)
		// An error means that the value cannot be shown as JSON either, such as the year 10000.
		if out, err := v.Addr().Interface().(selfWriter).AppendBinary(e.out); err == nil && len(out)-at-1 <= math.MaxUint8 {
			e.out = out
			e.out[at] = byte(len(out) - at - 1)
		}
		return
	}
	bits := len(e.out)
	for range (len(c.fields) + 7) / 8 {
		e.out = append(e.out, 0)
	}
	for i := range c.fields {
		f := &c.fields[i]
		if one := v.Field(f.index); !zero(f.kind, one) {
			e.out[bits+i/8] |= 1 << (i % 8)
			e.value(f.codec, one)
		}
	}
}

// zero is v.IsZero, but faster for the two kinds that most fields have.
func zero(k reflect.Kind, v reflect.Value) bool {
	switch k {
	case reflect.String:
		return v.Len() == 0
	case reflect.Slice:
		return v.IsNil()
	}
	return v.IsZero()
}

func (e *encoder) text(s string) {
	whole := len(s) <= maxTextBytes
	if !whole {
		s = s[:maxTextBytes]
		e.truncated = true
	}
	switch {
	case !e.reserve(len(s) + len(cutMark)):
		e.out = append(e.out, 0)
	case whole:
		e.string(s)
	default:
		e.string(s + cutMark)
	}
}

// string writes twice the length of s, then s. If the same text was written before, as most domain
// names were, string writes instead twice the place of that text, plus 1.
func (e *encoder) string(s string) {
	if len(s) < minRepeated {
		e.out = append(binary.AppendUvarint(e.out, uint64(len(s))<<1), s...)
		return
	}
	last := &e.texts[slot(s)]
	if at := last.at; last.size == len(s) && string(e.out[at:at+len(s)]) == s {
		e.out = binary.AppendUvarint(e.out, uint64(last.before)<<1|1)
		return
	}
	before := len(e.out)
	e.out = append(binary.AppendUvarint(e.out, uint64(len(s))<<1), s...)
	*last = written{before, len(e.out) - len(s), len(s)}
}

// slot returns the hash of a text of at least minRepeated octets. Each factor is odd, so texts that differ
// only in one of the octets, or only in their length, rarely share a slot.
func slot(s string) int {
	return (len(s)*31 ^ int(s[0])*7 ^ int(s[len(s)/2])*3 ^ int(s[len(s)-1])) % slots
}

// list writes the number of elements + 1, and the elements. 0 stands for nil.
func (e *encoder) list(c *codec, v reflect.Value) {
	if v.IsNil() {
		e.out = append(e.out, 0)
		return
	}
	size := max(1, c.element.size)
	n := min(v.Len(), maxElements, max(0, e.limit-e.used)/size)
	e.truncated = e.truncated || n < v.Len()
	e.used += n * size
	e.out = binary.AppendUvarint(e.out, uint64(n)+1)
	for i := range n {
		e.value(c.element, v.Index(i))
	}
}

// table writes a map: each element after a 1, and a 0 at the end. The keys are not cut, because
// they are words that this program defines.
func (e *encoder) table(c *codec, v reflect.Value) {
	e.flag(!v.IsNil())
	if v.IsNil() {
		return
	}
	scratch, size := e.maps[c.place], c.key.size+c.element.size
	for it := v.MapRange(); it.Next() && e.reserve(2*size); { // approximately the memory of one element
		scratch.key.SetIterKey(it)
		scratch.value.SetIterValue(it)
		e.flag(true)
		e.string(scratch.key.String())
		e.value(c.element, scratch.value)
	}
	scratch.key.SetZero()
	scratch.value.SetZero()
	e.flag(false)
}
