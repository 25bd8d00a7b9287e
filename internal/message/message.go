// Package message holds header fields as they were received. It keeps their order, case and
// folding, because DKIM and ARC signatures cover exactly these octets.
package message

import (
	"iter"
	"slices"
	"strings"
)

// Field is one header field (RFC 5322 §2.2).
type Field struct {
	// Name is the name as received, without the colon and without white space before the colon.
	Name string
	// Value has all octets after the colon: the leading space, folds as CRLF, and trailing white
	// space. It does not have the CRLF that ends the field.
	Value string
}

// Is reports whether the name of the field is name. Case does not matter.
func (f Field) Is(name string) bool {
	return len(f.Name) == len(name) && strings.EqualFold(f.Name, name)
}

// String returns the field as it was received, without the CRLF at its end.
func (f Field) String() string { return f.Name + ":" + f.Value }

// Header holds the header fields of a message, the topmost first.
type Header []Field

// All iterates over the values of the fields with this name, the topmost first.
func (h Header) All(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range h {
			if h[i].Is(name) && !yield(h[i].Value) {
				return
			}
		}
	}
}

// Values returns the values of the fields with this name, the topmost first.
func (h Header) Values(name string) []string { return slices.Collect(h.All(name)) }

// Has reports whether there is a field with this name.
func (h Header) Has(name string) bool {
	for _, f := range h {
		if f.Is(name) {
			return true
		}
	}
	return false
}

// Unfold returns value without the CRLF of its folds. The white space after each fold stays (RFC
// 5322 §2.2.3). A CR or LF that is not part of a CRLF stays, too.
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
			b.WriteString("\r\n") // no white space follows, so this is not a fold
		}
	}
}
