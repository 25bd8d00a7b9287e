package strict

import (
	"encoding"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
)

// Change is a key whose values differ between two configurations. Path is its
// path, Old and New are the values as YAML.
type Change struct{ Path, Old, New string }

// Diff lists the keys whose values differ between the structs a and b, in the
// order of the fields. a and b must have the same type.
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

// inline returns a value as YAML on one line.
func inline(v reflect.Value) string {
	if v.Kind() == reflect.Map && v.Len() == 0 {
		return "[]" // as for a list without items
	}
	out, err := yaml.MarshalWithOptions(v.Interface(), yaml.Flow(true))
	if err != nil {
		return "?" // the value cannot be written as YAML
	}
	return strings.TrimSpace(string(out))
}
