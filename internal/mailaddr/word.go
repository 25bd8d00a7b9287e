package mailaddr

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// What an encoded word may not hold: some clients decode first and parse then,
// and would have another author.
const (
	hidingCharset  = "an encoded word is in a charset that could hide an address"
	hiddenAddress  = "an encoded word holds an address of another domain in angle brackets"
	hiddenControl  = "an encoded word holds a line break or a NUL octet"
	wordsTooNested = "encoded words stand within encoded words"
)

// decodeWords decodes the encoded words (RFC 2047) of a display name or
// comment as lenient clients do: anywhere, also within quotes or beside other
// text, and with spaces inside. It returns what to show, which addresses of
// other domains a reader sees in it, and why the text must be refused, "" if it
// need not.
func decodeWords(text, domain string) (display string, seen sight, refusal string) {
	seen = sightOf(text, domain)
	if !strings.Contains(text, "=?") {
		return text, seen, ""
	}
	display, judged, ok := scanWords(text, "?")
	if refusal = refuseDecoded(judged, domain, ok); refusal != "" {
		return "", seen, refusal
	}
	// Others let a word go on over a lone question mark, or end it at a space.
	for _, until := range []string{"?=", " "} {
		_, also, ok := scanWords(text, until)
		if refusal = refuseDecoded(also, domain, ok); refusal != "" {
			return "", seen, refusal
		}
		seen |= sightOf(also, domain)
	}
	// Some decode what they decoded once more; no honest word holds another.
	for range maxWordDepth {
		seen |= sightOf(judged, domain)
		if !strings.Contains(judged, "=?") {
			return display, seen, ""
		}
		once := judged
		_, judged, ok = scanWords(once, "?")
		if refusal = refuseDecoded(judged, domain, ok); refusal != "" {
			return "", seen, refusal
		}
		if judged == once || judged == "" { // no word in it
			return display, seen, ""
		}
	}
	return "", seen, wordsTooNested
}

// refuseDecoded judges decoded text; readable says whether it could be decoded.
func refuseDecoded(text, domain string, readable bool) string {
	switch {
	case !readable:
		return hidingCharset
	case strings.ContainsAny(text, "\x00\r\n"):
		return hiddenControl
	case holdsAngle(text, domain):
		return hiddenAddress
	}
	return ""
}

// decodesTo reports whether every text that a reader might make of the encoded
// words in text satisfies ok. It reports false if that cannot be told.
func decodesTo(text string, ok func(decoded string) bool) bool {
	for _, until := range []string{"?", "?=", " "} {
		decoded := text
		for depth := 0; strings.Contains(decoded, "=?"); depth++ {
			_, judged, readable := scanWords(decoded, until)
			if judged == "" && readable { // no word in it
				break
			}
			if depth == maxWordDepth || !readable || strings.ContainsAny(judged, "\x00\r\n") || !ok(judged) {
				return false
			}
			decoded = judged
		}
	}
	return true
}

// maxWordDepth bounds encoded words within encoded words.
const maxWordDepth = 3

// scanWords decodes the words of text; until is what ends the text of one:
// "?", which must then be the first half of "?=", or "?=", or " ", where the
// end of text does too. It returns what to
// show and what to judge, which differ in words of an unknown charset: they
// are shown as they are but judged by their octets, for nearly all charsets
// agree with ASCII where it matters. In text without words there is nothing to
// judge. It reports false for a charset that could hide anything.
func scanWords(text, until string) (display, judged string, ok bool) {
	var show, check strings.Builder
	found := false
	last := strings.LastIndex(text, "?=")
	if until == " " {
		last = len(text)
	}
	pos, gap := 0, 0 // gap is where the text since the last word begins
	for {
		i := strings.Index(text[pos:], "=?")
		if i < 0 || pos+i > last { // no word ends after this one begins
			break
		}
		i += pos
		word, octets, charset := encodedWord(text[i:], until)
		if word == "" {
			pos = i + len("=?")
			continue
		}
		if between := text[gap:i]; !found || strings.Trim(between, " \t") != "" { // RFC 2047 §6.2
			show.WriteString(between)
			check.WriteString(between)
		}
		shown, octetsOrText, readable := convert(word, octets, charset)
		if !readable {
			return "", "", false
		}
		show.WriteString(shown)
		check.WriteString(octetsOrText)
		pos = i + len(word)
		gap = pos
		found = true
	}
	if !found {
		return text, "", true
	}
	show.WriteString(text[gap:])
	check.WriteString(text[gap:])
	return show.String(), check.String(), true
}

// encodedWord returns the encoded word s begins with, "" if it is none. It
// looks for the end of a word only after a sound beginning, so that a field full
// of "=?" costs linear time.
func encodedWord(s, until string) (word string, octets []byte, charset string) {
	charset, rest, _ := strings.Cut(s[len("=?"):], "?")
	enc, rest, ok := strings.Cut(rest, "?")
	if !ok || !strings.EqualFold(enc, "q") && !strings.EqualFold(enc, "b") {
		return "", nil, ""
	}
	end, next, ok := wordEnd(rest, until)
	if !ok {
		return "", nil, ""
	}
	word = s[:len(s)-len(rest)+next]
	charset, _, _ = strings.Cut(strings.ToLower(charset), "*") // RFC 2231 §5: language
	if strings.EqualFold(enc, "q") {
		return word, decodeQ(rest[:end]), charset
	}
	return word, decodeB(rest[:end]), charset
}

// wordEnd returns where the text of an encoded word ends in s and where what
// comes after the word begins. It reads no further than that.
func wordEnd(s, until string) (end, next int, ok bool) {
	if until == " " {
		for end < len(s) && s[end] != ' ' {
			if strings.HasPrefix(s[end:], "?=") {
				return end, end + len("?="), true
			}
			end++
		}
		return end, end, true
	}
	end = strings.Index(s, until)
	return end, end + len("?="), end >= 0 && strings.HasPrefix(s[end:], "?=")
}

// decodeQ decodes RFC 2047 §4.2; wrong escapes stay as they are.
func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// decodeB decodes RFC 2047 §4.1 as forgivingly as any client: foreign
// characters are skipped, padding may be absent or stand in the middle.
func decodeB(s string) []byte {
	out := make([]byte, 0, len(s))
	for part := range strings.SplitSeq(s, "=") {
		clean := make([]byte, 0, len(part))
		for i := 0; i < len(part); i++ {
			switch c := part[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/':
				clean = append(clean, c)
			}
		}
		if len(clean)%4 == 1 {
			clean = clean[:len(clean)-1]
		}
		// Cannot fail: only alphabet, of a possible length.
		out, _ = base64.RawStdEncoding.AppendDecode(out, clean)
	}
	return out
}

// convert returns the text of a word to show and the text to judge. It reports
// false for a charset in which the octets could say anything.
func convert(word string, octets []byte, charset string) (shown, judged string, ok bool) {
	switch charset {
	case "utf-8", "utf8", "us-ascii":
		return string(octets), string(octets), true
	case "iso-8859-1":
		var b strings.Builder
		for _, c := range octets {
			b.WriteRune(rune(c))
		}
		return b.String(), b.String(), true
	}
	if e := japaneseCharset(charset); e != nil {
		if text, err := e.NewDecoder().Bytes(octets); err == nil && utf8.Valid(text) {
			return string(text), string(text), true
		}
	}
	switch {
	case ebcdic(charset):
		judged, ok = ebcdicText(octets)
		return word, judged, ok
	case opaque(charset):
		return "", "", false
	}
	return word, string(octets), true
}

// holdsAngle reports whether decoded text holds an address in angle brackets,
// closed or not, of another domain.
func holdsAngle(text, domain string) bool {
	for {
		_, after, ok := strings.Cut(text, "<")
		if !ok {
			return false
		}
		inner, rest, _ := strings.Cut(after, ">")
		if i := strings.LastIndexByte(inner, '@'); i >= 0 && !strings.EqualFold(strings.TrimSpace(inner[i+1:]), domain) {
			return true
		}
		text = rest
	}
}
