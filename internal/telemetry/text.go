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

// readable is slog.HandlerOptions.ReplaceAttr for the text log. It turns lists and
// records into words, which slog would print as Go values.
func readable(_ []string, a slog.Attr) slog.Attr {
	if v := a.Value.Resolve(); v.Kind() == slog.KindAny {
		if text, ok := ownText(reflect.ValueOf(v.Any())); ok {
			a.Value = slog.StringValue(text)
		} else {
			a.Value = slog.StringValue(inWords(reflect.ValueOf(v.Any()), true))
		}
	}
	return a
}

// ownText returns the text that a value's own method makes, if it has such a method.
func ownText(v reflect.Value) (text string, ok bool) {
	if !v.IsValid() || !v.CanInterface() || v.Kind() == reflect.Pointer && v.IsNil() {
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

// inWords writes a record as key=value, a list with commas between its items, and a
// list of records with semicolons. top is false within another value. There a text
// that could be read as more than one value is quoted.
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

// word returns s, quoted if it stands within another value and is not a single word.
func word(s string, top bool) string {
	if top || s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`=,;"\`, r) }) {
		return s
	}
	return strconv.Quote(s)
}
