package config

import (
	"encoding"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
)

// Change is a key with different values in two configurations, as Print shows
// them, secrets masked.
type Change struct{ Path, Old, New string }

// Diff lists the keys by which b differs from a, in the reference's order.
func Diff(a, b *Config) []Change {
	x, y := a.shown(), b.shown()
	return diff(reflect.ValueOf(x), reflect.ValueOf(y), "")
}

func diff(a, b reflect.Value, path string) []Change {
	var out []Change
	for i, key := range keys(a.Type()) {
		at, x, y := join(path, key), a.Field(i), b.Field(i)
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
		return "[]" // whether there is none or an empty one
	}
	out, err := yaml.MarshalWithOptions(v.Interface(), yaml.Flow(true))
	if err != nil {
		return "?" // Print could not write it either
	}
	return strings.TrimSpace(string(out))
}
