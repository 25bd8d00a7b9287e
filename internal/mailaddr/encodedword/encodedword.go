// Package encodedword decodes the encoded words of RFC 2047 in every way in which a
// mail client might. Clients disagree on where a word ends, on charsets, and on words
// within words; whoever judges a field has to see what each of them sees.
package encodedword

import (
	"strings"
	"unicode/utf8"
)

// Why Decodings refuses a text by itself. Some clients decode first and parse then;
// they would see another text than the one that is judged.
const (
	hidingCharset  = "an encoded word is in a charset that could hide an address"
	hiddenControl  = "an encoded word holds a line break or a NUL octet"
	wordsTooNested = "encoded words stand within encoded words"
)

// reader says how a reader understands encoded words.
type reader struct {
	// until is the mark at which this reader ends the text of a word. With "?", the
	// word ends at the first question mark, which must be the beginning of "?=". With
	// "?=", a question mark alone is part of the word. With " ", the word ends at a
	// space, at "?=" or at the end of the text.
	until string
	// masks is set for a reader that knows the charsets in which "<" or "@" can be a
	// part of a character.
	masks bool
	// strict refuses EBCDIC charsets.
	strict bool
}

// Decodings calls judge with every text that a reader might make of the encoded
// words in text, first with the one that most readers see. Some readers decode what
// they decoded once more. Decodings returns the first refusal, its own or that of
// judge, and "" if there is none. strict asks it to refuse EBCDIC charsets, in which
// an address cannot be told from other text.
func Decodings(text string, strict bool, judge func(Decoded) (refusal string)) (refusal string) {
	r := reader{strict: strict}
	for _, r.until = range []string{"?", "?=", " "} {
		r.masks = false
		masks, refusal := r.decodings(text, judge)
		if refusal == "" && masks {
			r.masks = true
			_, refusal = r.decodings(text, judge)
		}
		if refusal != "" {
			return refusal
		}
	}
	return ""
}

// decodings is Decodings for one reader. It also reports whether a word is in a charset
// that masks.
func (r reader) decodings(text string, judge func(Decoded) (refusal string)) (masks bool, refusal string) {
	for depth := 0; strings.Contains(text, "=?"); depth++ {
		scan := scanWords(text, r)
		masks = masks || scan.maskable
		switch {
		case scan.opaque:
			return masks, hidingCharset
		case !scan.found:
			return masks, ""
		case depth == maxWordDepth:
			return masks, wordsTooNested
		case strings.ContainsAny(scan.Judged, "\x00\r\n"):
			return masks, hiddenControl
		}
		if refusal := judge(scan); refusal != "" {
			return masks, refusal
		}
		text = scan.Judged
	}
	return masks, ""
}

// maxWordDepth bounds how deep encoded words may stand within encoded words.
const maxWordDepth = 3

// Decoded is a text with its encoded words decoded. Display and Judged differ in words
// of an unknown charset. Such a word is shown as it is, but judged by its octets,
// because nearly all charsets agree with ASCII in the characters that matter.
type Decoded struct {
	Display string // what to show
	Judged  string // what to judge
	// Usual says that most readers find the ends of the words in this way.
	Usual bool

	found    bool // there is a word
	opaque   bool // a word is in a charset that could hide anything
	maskable bool // a word is in a charset that masks
}

// scanWords decodes the encoded words of text as reader r does.
func scanWords(text string, r reader) Decoded {
	var show, check strings.Builder
	scan := Decoded{Usual: r.until == "?"}
	last := strings.LastIndex(text, "?=")
	if r.until == " " {
		last = len(text)
	}
	pos, gap := 0, 0 // gap is where the text after the last word begins
	for {
		i := strings.Index(text[pos:], "=?")
		if i < 0 || pos+i > last { // no end of a word follows
			break
		}
		i += pos
		word, octets, charset := encodedWord(text[i:], r.until)
		if word == "" {
			pos = i + len("=?")
			continue
		}
		if between := text[gap:i]; !scan.found || strings.Trim(between, " \t") != "" { // RFC 2047 §6.2
			show.WriteString(between)
			check.WriteString(between)
		}
		shown, judged, masks, ok := r.convert(word, octets, charset)
		scan.maskable = scan.maskable || masks
		if !ok {
			scan.opaque = true
			return scan
		}
		show.WriteString(shown)
		check.WriteString(judged)
		pos = i + len(word)
		gap = pos
		scan.found = true
	}
	show.WriteString(text[gap:])
	check.WriteString(text[gap:])
	scan.Display, scan.Judged = show.String(), check.String()
	return scan
}

// convert returns the text of a word to show and the text to judge. It also reports
// whether the charset masks. ok is false for a charset in which the octets could mean
// anything.
func (r reader) convert(word string, octets []byte, charset string) (shown, judged string, masks, ok bool) {
	switch charset {
	case "utf-8", "utf8", "us-ascii":
		return string(octets), string(octets), false, true
	case "iso-8859-1":
		var b strings.Builder
		for _, c := range octets {
			b.WriteRune(rune(c))
		}
		return b.String(), b.String(), false, true
	}
	if opaque(charset) {
		return "", "", false, false
	}
	shown, judged, ok = word, string(octets), true
	if e := japaneseCharset(charset); e != nil {
		if text, err := e.NewDecoder().Bytes(octets); err == nil && utf8.Valid(text) {
			shown, judged = string(text), string(text)
		}
	}
	switch {
	case shifting(charset):
		masks = true
		if r.masks {
			judged, ok = unshifted(octets)
		}
	case johab(charset):
		masks = true
		if r.masks {
			judged = withoutPairs(octets)
		}
	case ebcdic(charset):
		judged, ok = ebcdicText(octets)
		ok = ok && !r.strict
	}
	return shown, judged, masks, ok
}
