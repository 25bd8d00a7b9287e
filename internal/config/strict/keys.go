package strict

import (
	"reflect"
	"slices"
)

// Keys returns the YAML names of a struct's exported fields, in order. Fields
// that are not exported must stand last, so that the numbers of fields and keys
// agree.
func Keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			out = append(out, f.Tag.Get("yaml"))
		}
	}
	return out
}

// Join returns the path of a key in a section.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Paths lists the keys of a struct and of the sections in it, such as
// dns.cache.size. It lists nothing for a type that is not a struct.
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
		if f := t.Field(i).Type; f.Kind() == reflect.Struct && !slices.Contains(Keys(f), "") {
			out = append(out, paths(f, at)...)
		}
	}
	return out
}
