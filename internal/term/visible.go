package term

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"unicode"
	"unicode/utf8"
)

// isShown reports a character that a terminal shows, or that ends a line or
// indents one. All others could steer it, hide, or turn the text around:
// control characters, DEL, marks of direction, spaces without width.
func isShown(r rune) bool { return r == '\n' || r == '\t' || unicode.IsPrint(r) }

// Visible returns s with an escape, such as \u202e, for everything that is not
// shown; line ends and tabs stay. It is for text of several lines; a value in a
// line of ours takes Safe.
func Visible(s string) string { return string(VisibleBytes([]byte(s))) }

// VisibleBytes is Visible of octets; it returns text itself where nothing is to
// be escaped.
func VisibleBytes(text []byte) []byte {
	if n := shown(text); n < len(text) {
		return escape(text, n)
	}
	return text
}

// Writer writes text as Visible returns it. The escapes are those of JSON, so
// that JSON stays what it is: there such characters stand in strings only. Not
// safe for concurrent use.
type Writer struct {
	out  io.Writer
	rest []byte // the beginning of a character whose end is not written yet
}

// NewWriter returns a Writer to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	text := p
	if len(w.rest) > 0 {
		text = slices.Concat(w.rest, p)
		w.rest = nil
	}
	if last := lastBegun(text); last < len(text) {
		w.rest = bytes.Clone(text[last:])
		text = text[:last]
	}
	if _, err := w.out.Write(VisibleBytes(text)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what was held back in case the rest of a character follows.
func (w *Writer) Flush() error {
	if len(w.rest) == 0 {
		return nil
	}
	_, err := w.out.Write(escape(w.rest, 0))
	w.rest = nil
	return err
}

// Unwrap returns what a Writer writes to, and out itself if it is none.
func Unwrap(out io.Writer) io.Writer {
	if w, ok := out.(*Writer); ok {
		return w.out
	}
	return out
}

// lastBegun returns where the last character begins if its end is missing, else
// the length of text.
func lastBegun(text []byte) int {
	for i := len(text) - 1; i >= max(0, len(text)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				return i
			}
			break
		}
	}
	return len(text)
}

// shown returns how many octets at the beginning are shown as they are.
func shown(text []byte) int {
	for i := 0; i < len(text); {
		if c := text[i]; ' ' <= c && c <= '~' || c == '\n' || c == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if !isShown(r) || r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}

// escape returns text with escapes; its first n octets need none.
func escape(text []byte, n int) []byte {
	out := append(make([]byte, 0, len(text)+64), text[:n]...)
	for text = text[n:]; len(text) > 0; text = text[n:] {
		var r rune
		switch r, n = utf8.DecodeRune(text); {
		case r == utf8.RuneError && n <= 1:
			out = fmt.Appendf(out, `\x%02x`, text[0])
		case isShown(r):
			out = append(out, text[:n]...)
		case r > 0xffff: // JSON knows only the two halves
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
