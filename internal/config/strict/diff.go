package strict

import (
	"encoding"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
)

// Change is a key with different values in two configurations.
type Change struct{ Path, Old, New string }

// Diff lists the keys by which the struct b differs from a, in the order of the
// fields. Both have the same type.
func Diff(a, b any) []Change { return diff(reflect.ValueOf(a), reflect.ValueOf(b), "") }

func diff(a, b reflect.Value, path string) []Change {
	var out []Change
	for i, key := range Keys(a.Type()) {
		at, x, y := Join(path, key), a.Field(i), b.Field(i)
		if x.Kind() == reflect.Struct && !reflect.PointerTo(x.Type()).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			out = append(out, diff(x, y, at)...)
			continue
		}
		if o, n := inline(x), inline(y); o != n {
			out = append(out, Change{Path: at, Old: o, New: n})
		}
	}
	return out
}

// inline writes a value on one line.
func inline(v reflect.Value) string {
	if (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
		return "[]" // no list and an empty one are alike
	}
	out, err := yaml.MarshalWithOptions(v.Interface(), yaml.Flow(true))
	if err != nil {
		return "?" // there is no YAML for such a value
	}
	return strings.TrimSpace(string(out))
}
