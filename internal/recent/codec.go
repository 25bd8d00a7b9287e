package recent

import (
	"encoding"
	"fmt"
	"reflect"

	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// A Ring keeps a decision as text without pointers, which takes a fifth of the memory of the
// values and which the garbage collector need not scan. The text is made of the Go values by
// their types, so a new field of an Evaluation needs no change here. Only the process that
// wrote the text reads it, so the format has no version, and the reader makes no checks.
//
// A struct begins with one bit for each field, which says whether the field is not zero. Then
// only the fields that are not zero follow, which are few. Numbers have variable length, and
// texts and lists begin with their length.

// codec says how the values of one type are written and read.
type codec struct {
	of      reflect.Type
	kind    reflect.Kind
	size    int     // octets of a value in memory
	opaque  bool    // the value writes and reads itself (selfWriter)
	fields  []field // of a struct
	key     *codec  // of a map
	element *codec  // of a pointer, slice or map
	place   int     // of a map: its index in codecs.maps
}

// field is a field of a struct that is written.
type field struct {
	index int
	*codec
}

// codecs has the codecs of all types that a decision consists of.
type codecs struct {
	known map[reflect.Type]*codec
	maps  []*codec // those of maps
}

func newCodecs() *codecs {
	c := &codecs{known: map[reflect.Type]*codec{}}
	for _, t := range []reflect.Type{
		reflect.TypeFor[msgauth.Evaluation](), reflect.TypeFor[policy.Verdict](),
		reflect.TypeFor[msgauth.Session](), reflect.TypeFor[msgauth.Envelope](), reflect.TypeFor[Head](),
	} {
		c.learn(t)
	}
	return c
}

// learn returns the codec of t. It panics if values of t cannot be written, which every test
// of a Ring would notice.
func (c *codecs) learn(t reflect.Type) *codec {
	if k := c.known[t]; k != nil {
		return k
	}
	k := &codec{of: t, kind: t.Kind(), size: int(t.Size())}
	c.known[t] = k
	switch t.Kind() {
	case reflect.Map:
		if k.key = c.learn(t.Key()); k.key.kind != reflect.String {
			panic(fmt.Sprintf("recent: decisions contain a %s, whose keys are not texts", t))
		}
		k.place = len(c.maps)
		c.maps = append(c.maps, k)
		k.element = c.learn(t.Elem())
	case reflect.Pointer, reflect.Slice:
		k.element = c.learn(t.Elem())
	case reflect.Struct:
		if k.opaque = opaque(t); !k.opaque {
			k.fields = c.learnFields(t)
		}
	case reflect.Bool, reflect.String, reflect.Float64, reflect.Int, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32:
	default:
		panic(fmt.Sprintf("recent: decisions contain a %s, which a Ring cannot keep", t))
	}
	return k
}

// learnFields returns the fields that encoding/json would show.
func (c *codecs) learnFields(t reflect.Type) (fields []field) {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
			fields = append(fields, field{i, c.learn(f.Type)})
		}
	}
	return fields
}

// selfWriter is a value that writes itself, such as a netip.Addr or a time.Time.
type selfWriter interface {
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// opaque reports whether values of the struct type t write and read themselves. They do if the
// struct has no exported fields.
func opaque(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			return false
		}
	}
	if !reflect.PointerTo(t).Implements(reflect.TypeFor[selfWriter]()) {
		panic(fmt.Sprintf("recent: %s has no exported fields, and no methods AppendBinary and UnmarshalBinary", t))
	}
	return true
}
