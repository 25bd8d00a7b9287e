package printable

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// Text returns s with an escape, such as \u202e, for every character that IsShown excludes, and
// \xNN for an octet that is not valid UTF-8. LF and tabs stay. For a value within one line, use
// [Value] instead.
func Text(s string) string { return string(TextBytes([]byte(s))) }

// TextBytes is Text for octets. It returns text itself if nothing has to be
// escaped.
func TextBytes(text []byte) []byte {
	if n := shownPrefix(text); n < len(text) {
		return escape(text, n)
	}
	return text
}

// staysInText reports whether a text of several lines keeps r as it is.
func staysInText(r rune) bool { return r == '\n' || r == '\t' || IsShown(r) }

// Writer writes text as [Text] returns it. If the text is JSON that encoding/json wrote, its
// meaning does not change. In such JSON, the characters that Text escapes are only in strings, and
// the escapes are valid there. A Writer is not safe for concurrent use.
type Writer struct {
	out  io.Writer
	rest []byte // the beginning of a character whose other octets have not come yet
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
	if _, err := w.out.Write(TextBytes(text)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes the octets of an incomplete character that Write held back, as escapes. Call it at
// the end of the text.
func (w *Writer) Flush() error {
	if len(w.rest) == 0 {
		return nil
	}
	_, err := w.out.Write(escape(w.rest, 0))
	w.rest = nil
	return err
}

// Unwrap returns the output behind out if out is a Writer, and out itself otherwise.
func Unwrap(out io.Writer) io.Writer {
	if w, ok := out.(*Writer); ok {
		return w.out
	}
	return out
}

// lastBegun returns the offset of the last character of text if that character is incomplete.
// Otherwise it returns the length of text.
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

// shownPrefix returns how many octets at the beginning of text need no escape.
func shownPrefix(text []byte) int {
	for i := 0; i < len(text); {
		if c := text[i]; ' ' <= c && c <= '~' || c == '\n' || c == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if !staysInText(r) || r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}

// escape returns text with the escapes of Text. The first n octets of text need no escape.
func escape(text []byte, n int) []byte {
	out := append(make([]byte, 0, len(text)+64), text[:n]...)
	for text = text[n:]; len(text) > 0; text = text[n:] {
		var r rune
		switch r, n = utf8.DecodeRune(text); {
		case r == utf8.RuneError && n <= 1:
			out = fmt.Appendf(out, `\x%02x`, text[0])
		case staysInText(r):
			out = append(out, text[:n]...)
		case r > 0xffff: // JSON writes such a character as two surrogates
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
