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
// need not. seesAngle is left to the caller, who knows where the text stands.
func decodeWords(text, domain string) (display string, seen sight, refusal string) {
	seen = sightOf(text, domain)
	if !strings.Contains(text, "=?") {
		return text, seen, ""
	}
	display = text
	var plain wordScan // what most readers decode
	mixed := false     // others decode another address
	refusal = decodings(text, reading{}, func(scan wordScan) string {
		if !plain.found {
			plain = scan
			if scan.until == "?" {
				display = scan.display
			}
		}
		seen |= sightOf(scan.judged, domain)
		mixed = mixed || plain.until != "?" || fromAngle(scan.judged) != fromAngle(plain.judged)
		switch {
		case !holdsAngle(scan.judged, domain):
		case mixed, strings.ContainsAny(text, "<>"), !isNameWithAngle(scan.judged):
			return hiddenAddress
		default:
			seen |= seesAngle
		}
		return ""
	})
	if refusal == "" && mixed && seen&seesAngle != 0 {
		refusal = hiddenAddress
	}
	if refusal != "" {
		return "", seen, refusal
	}
	return display, seen, ""
}

// reading is how a reader understands encoded words.
type reading struct {
	// until is what ends the text of a word: "?", which must then be the first
	// half of "?=", or "?=", for those who let a word go on over a lone question
	// mark, or " ", for those who end it there or at the end of the text.
	until string
	// masks is set for a reader who knows charsets whose "<" or "@" may be part of
	// a character.
	masks bool
	// strict is set where EBCDIC cannot be told from an address.
	strict bool
}

// decodings calls judge with every text that a reader might make of the encoded
// words in text, first with the one that most readers see. Some decode once more
// what they decoded. It returns the first refusal, "" if there is none.
func decodings(text string, r reading, judge func(wordScan) (refusal string)) (refusal string) {
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

// decodings is the function decodings for one reader. It also reports whether
// there is a charset that masks.
func (r reading) decodings(text string, judge func(wordScan) (refusal string)) (masks bool, refusal string) {
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
		case strings.ContainsAny(scan.judged, "\x00\r\n"):
			return masks, hiddenControl
		}
		if refusal := judge(scan); refusal != "" {
			return masks, refusal
		}
		text = scan.judged
	}
	return masks, ""
}

// maxWordDepth bounds encoded words within encoded words.
const maxWordDepth = 3

// wordScan is text with its encoded words decoded. What to show and what to judge
// differ in words of an unknown charset: they are shown as they are but judged by
// their octets, for nearly all charsets agree with ASCII where it matters.
type wordScan struct {
	reading
	display, judged string
	found           bool // a word
	opaque          bool // a charset could hide anything
	maskable        bool // there is a charset that masks
}

// scanWords decodes the words of text.
func scanWords(text string, r reading) wordScan {
	var show, check strings.Builder
	scan := wordScan{reading: r}
	last := strings.LastIndex(text, "?=")
	if r.until == " " {
		last = len(text)
	}
	pos, gap := 0, 0 // gap is where the text since the last word begins
	for {
		i := strings.Index(text[pos:], "=?")
		if i < 0 || pos+i > last { // no word ends after this one begins
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
	scan.display, scan.judged = show.String(), check.String()
	return scan
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
// whether the charset masks, and false for a charset in which the octets could
// say anything.
func (r reading) convert(word string, octets []byte, charset string) (shown, judged string, masks, ok bool) {
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

// fromAngle returns what follows the first angle bracket.
func fromAngle(text string) string {
	_, after, _ := strings.Cut(text, "<")
	return after
}

// isNameWithAngle reports whether decoded text is a name with one address in
// angle brackets, and ends no mailbox to those who decode first and parse then.
func isNameWithAngle(text string) bool {
	address, rest, closed := strings.Cut(fromAngle(text), ">")
	return closed && strings.Count(address, "@") == 1 && !strings.ContainsAny(address, "< \t") && !strings.ContainsAny(rest, "<>") &&
		!strings.ContainsAny(text, `,;:\`) && !strings.Contains(text, "=?")
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
		if _, name, ok := strings.Cut(inner, "@"); ok && !sameDomain(strings.TrimSpace(name), domain) {
			return true
		}
		text = rest
	}
}

// sameDomain reports whether text is the given domain, perhaps in other letters.
func sameDomain(text, domain string) bool {
	if strings.EqualFold(text, domain) {
		return true
	}
	name, err := authorDomain(text, 0)
	return err == nil && string(name) == domain
}
