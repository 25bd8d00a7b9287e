// Package encodedword decodes the encoded words of RFC 2047 in every way in which a mail client
// might. Clients disagree on where a word ends, on charsets, and on words within words. A caller
// that judges a field must therefore see the text of each client.
package encodedword

import (
	"strings"
	"unicode/utf8"
)

// The reasons for which Decodings itself refuses a text. Some clients decode a field before they
// parse it. In these cases they would see a text that the caller cannot judge.
const (
	hidingCharset  = "an encoded word is in a charset that could hide an address"
	hiddenControl  = "an encoded word holds a line break or a NUL octet"
	wordsTooNested = "encoded words stand within encoded words"
)

// reader is one way in which mail clients read encoded words.
type reader struct {
	// until is the mark at which this reader ends the text of a word. With "?", the word ends at
	// the first question mark, which must be the beginning of "?=". With "?=", the text of the word
	// may have other question marks. With " ", the word ends at a space, at "?=", or at the end of
	// the whole text.
	until string
	// masks is set for a client that knows the masking charsets, in which the octet of "<" or "@"
	// can be part of another character. Such a client sees U+FFFD in place of these characters.
	masks bool
	// strict is set to refuse EBCDIC charsets.
	strict bool
}

// Decodings calls the function judge with every text that a client might see after it decodes the
// encoded words of the parameter text. Some clients decode the result again, so judge also gets the
// text that these clients see. The first call has the text that most clients see. Decodings returns
// the first refusal, which is its own or that of judge, and "" if there is none. If strict is set,
// Decodings refuses EBCDIC charsets, because it cannot know which octet is the "@" in them.
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

// decodings does the work of Decodings for one client. It also reports whether a word has a masking
// charset.
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

// maxWordDepth is the maximum depth of encoded words within other encoded words.
const maxWordDepth = 3

// Decoded is a text with its encoded words decoded. Display and Judged differ in words of an
// unknown charset. Display has such a word undecoded. Judged has its octets, because in nearly all
// charsets the characters of an address have the same octets as in ASCII.
type Decoded struct {
	Display string // the text to show
	Judged  string // the text to judge
	// Usual says that most readers end the words where this reader does.
	Usual bool

	found    bool // text has an encoded word
	opaque   bool // a word has a charset for which convert returns false
	maskable bool // a word has a masking charset (see reader.masks)
}

// scanWords decodes the encoded words of text as the reader r does.
func scanWords(text string, r reader) Decoded {
	var show, check strings.Builder
	scan := Decoded{Usual: r.until == "?"}
	last := strings.LastIndex(text, "?=")
	if r.until == " " {
		last = len(text)
	}
	pos, gap := 0, 0 // gap is the end of the last word
	for {
		i := strings.Index(text[pos:], "=?")
		if i < 0 || pos+i > last { // no word can end after this
			break
		}
		i += pos
		word, octets, charset := encodedWord(text[i:], r.until)
		if word == "" {
			pos = i + len("=?")
			continue
		}
		// White space between two encoded words is not shown (RFC 2047 §6.2).
		if between := text[gap:i]; !scan.found || strings.Trim(between, " \t") != "" {
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

// convert returns the text to show and the text to judge for one word. masks reports that the word
// has a masking charset. ok is false if the octets of a word in this charset could stand for any
// characters.
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
