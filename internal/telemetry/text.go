package telemetry

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// readable is the ReplaceAttr function of the text log. It writes lists, maps and structs
// in words. Without it slog would print them as Go values.
func readable(_ []string, a slog.Attr) slog.Attr {
	if v := a.Value.Resolve(); v.Kind() == slog.KindAny {
		a.Value = slog.StringValue(inWords(reflect.ValueOf(v.Any()), true))
	}
	return a
}

// ownText returns the text that a method of the value returns (Error, String or
// MarshalText). ok is false if the value has no such method.
func ownText(v reflect.Value) (text string, ok bool) {
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return "", false
	}
	switch x := v.Interface().(type) {
	case error:
		return x.Error(), true
	case fmt.Stringer:
		return x.String(), true
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		return string(text), err == nil
	}
	return "", false
}

// inWords returns a value in words. A struct or map is written as key=value pairs. The
// elements of a list are separated by commas, or by semicolons if they are structs or
// maps. top is false for a value within another value. The text of such a value is
// quoted if it could be read as more than one value.
func inWords(v reflect.Value, top bool) string {
	if text, ok := ownText(v); ok {
		return word(text, top)
	}
	var items []string
	separator := ", "
	switch v.Kind() {
	case reflect.Invalid:
		return "none"
	case reflect.Pointer, reflect.Interface:
		return inWords(v.Elem(), top)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			items = append(items, inWords(v.Index(i), false))
		}
		if e := v.Type().Elem().Kind(); e == reflect.Struct || e == reflect.Map {
			separator = "; "
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			items = append(items, inWords(key, false)+"="+inWords(v.MapIndex(key), false))
		}
		slices.Sort(items)
		separator = " "
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() || v.Field(i).IsZero() {
				continue
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			items = append(items, name+"="+inWords(v.Field(i), false))
		}
		separator = " "
	default:
		return word(fmt.Sprint(v), top)
	}
	if len(items) == 0 {
		return "none"
	}
	return strings.Join(items, separator)
}

// word returns s. It quotes s if top is false and s is not a single word.
func word(s string, top bool) string {
	if top || s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`=,;"\`, r) }) {
		return s
	}
	return strconv.Quote(s)
}
