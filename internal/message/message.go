// Package message holds header fields as they came over the wire: in order,
// case and folding kept, because signatures cover exactly those octets.
package message

import (
	"iter"
	"slices"
	"strings"
)

// Field is one header field (RFC 5322 §2.2).
type Field struct {
	// Name as received, without the colon and any white space before it.
	Name string
	// Value is every octet after the colon: the leading space, folds as CRLF,
	// trailing white space; without the CRLF that ends the field.
	Value string
}

// Is reports whether the field's name is name, compared without case.
func (f Field) Is(name string) bool {
	return len(f.Name) == len(name) && strings.EqualFold(f.Name, name)
}

// String returns the field as on the wire, without the final CRLF.
func (f Field) String() string { return f.Name + ":" + f.Value }

// Header is a message's header fields, the topmost first.
type Header []Field

// All goes through the values of every field called name, the topmost first.
func (h Header) All(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range h {
			if h[i].Is(name) && !yield(h[i].Value) {
				return
			}
		}
	}
}

// Values returns the values of every field called name, the topmost first.
func (h Header) Values(name string) []string { return slices.Collect(h.All(name)) }

// Has reports whether a field called name is there.
func (h Header) Has(name string) bool {
	for _, f := range h {
		if f.Is(name) {
			return true
		}
	}
	return false
}

// Unfold removes the CRLF of every fold, keeping the white space after it
// (RFC 5322 §2.2.3). A bare CR or LF is left alone.
func Unfold(value string) string {
	if !strings.Contains(value, "\r\n") {
		return value
	}
	var b strings.Builder
	b.Grow(len(value))
	for {
		i := strings.Index(value, "\r\n")
		if i < 0 {
			b.WriteString(value)
			return b.String()
		}
		b.WriteString(value[:i])
		value = value[i+2:]
		if value != "" && value[0] != ' ' && value[0] != '\t' {
			b.WriteString("\r\n") // not a fold
		}
	}
}
