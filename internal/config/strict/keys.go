package strict

import (
	"encoding"
	"reflect"
)

// Keys returns the YAML keys of a struct's exported fields, in order.
// Unexported fields must come after all exported ones, so that the index of a
// key is also the index of its field.
func Keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			out = append(out, f.Tag.Get("yaml"))
		}
	}
	return out
}

// Join returns the path of a key. path is the path of its section, or "" for
// the top level.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Paths lists the paths of all keys of a struct type, including those in its
// sections, such as dns.cache.size. For any other type it returns nil.
func Paths(t reflect.Type) []string {
	if t.Kind() != reflect.Struct {
		return nil
	}
	return paths(t, "")
}

func paths(t reflect.Type, path string) []string {
	var out []string
	for i, key := range Keys(t) {
		at := Join(path, key)
		out = append(out, at)
		f := t.Field(i).Type
		text := reflect.PointerTo(f).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) // may also be written as one value
		if f.Kind() == reflect.Struct && !text {
			out = append(out, paths(f, at)...)
		}
	}
	return out
}
