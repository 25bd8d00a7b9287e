// Package svg checks that a picture is an SVG Tiny Portable/Secure document, the profile of
// draft-svg-tiny-ps-abrotman. Such a picture may be shown beside a message: it is small, it runs nothing,
// it refers to nothing outside itself, and it takes little time to draw.
//
// The lists in this package name what is allowed, so that an element or attribute that nobody thought of
// is refused. They accept nothing that the RELAX NG schema of the profile refuses. They are stricter than
// the schema in these points:
//   - UTF-8 only, at most [MaxOctets], maxDepth and maxTokens.
//   - No DOCTYPE, no CDATA, no processing instruction except the XML declaration, no comment that ends
//     early for an HTML parser. A mail client may put the picture into an HTML page.
//   - The title has 1 to 64 characters. viewBox is required and square. width and height are absolute.
//   - No xml:base and no requiredFonts. href and url() refer to "#id" only. A value has no backslash, and
//     no function except those of colours, transforms and url().
//   - What "use" repeats has at most maxDrawn elements and no cycle. An id that it refers to is unique.
//   - Letters of names are those of the scripts in nameLetters. xml:lang is a language tag, which the schema
//     asks for and xmllint does not check.
package svg

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxOctets is the size of the largest picture, uncompressed. The profile asks for 32 KB.
const MaxOctets = 32 << 10

const (
	maxCompressed = 64 << 10 // octets; a compressed picture is smaller than the picture
	maxDepth      = 64       // elements within each other; real pictures have fewer than ten
	maxTokens     = 20_000   // tags, texts and comments
	maxTitle      = 64       // characters of the title; the profile's advice
	maxDrawn      = 20_000   // elements to draw, with what "use" repeats
	maxProblems   = 20       // problems that are told
	maxNamed      = 40       // octets of a name or value that a problem quotes
)

// Problem is one reason why a picture is refused. Text says what to change.
type Problem struct {
	Line int    `json:"line,omitempty"` // of the uncompressed picture, from 1; 0 if it is the whole picture
	Text string `json:"text"`
}

// String returns the problem with its line.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.Text
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.Text)
}

// Refusal is the error for a picture that is not in the profile.
type Refusal struct {
	Problems []Problem // at least one, at most 20
}

// Error returns the first problem, and how many there are.
func (r *Refusal) Error() string {
	text := "svg: " + r.Problems[0].String()
	if n := len(r.Problems) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// Check returns the uncompressed octets of a picture that may be shown. The picture may be compressed with
// gzip (SVGZ). The error is a [*Refusal].
func Check(picture []byte) ([]byte, error) {
	plain, err := Uncompress(picture)
	if err != nil {
		return nil, err
	}
	c := newChecker(plain)
	c.run()
	if len(c.problems) > 0 {
		return nil, &Refusal{Problems: c.problems}
	}
	return plain, nil
}

// Uncompress returns the uncompressed octets of a picture, which it does not check otherwise. A picture
// that is not compressed is returned as it is. The error is a [*Refusal].
func Uncompress(picture []byte) ([]byte, error) {
	if !compressed(picture) {
		if len(picture) > MaxOctets {
			return nil, refuse("the picture has %d octets, and may have %d: simplify its paths", len(picture), MaxOctets)
		}
		return picture, nil
	}
	if len(picture) > maxCompressed {
		return nil, refuse("the compressed picture has %d octets, and may have %d: simplify its paths", len(picture), maxCompressed)
	}
	in := bytes.NewReader(picture)
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, refuse("the picture is not valid gzip: compress it again")
	}
	z.Multistream(false)
	plain, err := io.ReadAll(io.LimitReader(z, MaxOctets+1))
	switch {
	case err != nil:
		return nil, refuse("the picture is not valid gzip: compress it again")
	case len(plain) > MaxOctets:
		return nil, refuse("the picture has more than %d octets when it is uncompressed: simplify its paths", MaxOctets)
	case in.Len() > 0:
		return nil, refuse("there is something after the compressed picture: compress only the picture")
	case compressed(plain):
		return nil, refuse("the picture is compressed twice: compress it once")
	}
	return plain, nil
}

func compressed(b []byte) bool { return len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b }

func refuse(format string, args ...any) error {
	return &Refusal{Problems: []Problem{{Text: fmt.Sprintf(format, args...)}}}
}

// Problems returns the problems of an error of [Check], or nil if it is another error.
func Problems(err error) []Problem {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Problems
	}
	return nil
}

// byteOrderMark may stand before the document (XML 1.0 §4.3.3).
const byteOrderMark = "\ufeff"

// plainText says what is wrong with the octets of a document, before anything is parsed, or returns "".
// encoding/xml does not look at the octets of comments.
func plainText(doc []byte) string {
	if !utf8.Valid(doc) {
		return "the picture is not UTF-8: save it as UTF-8"
	}
	for _, r := range string(doc) {
		if r < ' ' && !strings.ContainsRune(space, r) || r == 0xfffe || r == 0xffff {
			return fmt.Sprintf("the picture has the character U+%04X, which XML does not allow: remove it", r)
		}
	}
	return ""
}
