package mailaddr

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
)

// japaneseCharsets are what Japanese clients still send; in a 7-bit double-byte
// charset the octets of an angle bracket are parts of common characters, so
// that the text can only be judged decoded.
var japaneseCharsets = map[string]encoding.Encoding{
	"iso-2022-jp":      japanese.ISO2022JP,
	"iso-2022-jp-1":    japanese.ISO2022JP,
	"iso-2022-jp-2":    japanese.ISO2022JP,
	"iso-2022-jp-3":    japanese.ISO2022JP,
	"iso-2022-jp-2004": japanese.ISO2022JP,
	"iso-2022-jp-ms":   japanese.ISO2022JP,
	"csiso2022jp":      japanese.ISO2022JP,
	"cp50220":          japanese.ISO2022JP,
	"shift_jis":        japanese.ShiftJIS,
	"euc-jp":           japanese.EUCJP,
}

// decodeWords decodes the encoded words (RFC 2047) of a display name or
// comment as lenient clients do: anywhere, also within quotes or beside other
// text, and with spaces inside. It reports false if what comes out could be
// read as an address in angle brackets other than one at domain, or holds a
// NUL or a line break: some clients decode first and parse then.
func decodeWords(text, domain string) (string, bool) {
	if !strings.Contains(text, "=?") {
		return text, true
	}
	display, judged, ok := scanWords(text, "?")
	if !ok || !harmless(judged, domain) {
		return "", false
	}
	// Others let a word go on over a lone question mark, or end it at a space.
	for _, until := range []string{"?=", " "} {
		if _, also, ok := scanWords(text, until); !ok || !harmless(also, domain) {
			return "", false
		}
	}
	// Some decode what they decoded once more; no honest word holds another.
	for range maxWordDepth {
		if bareAddress(judged, domain) {
			return "", false
		}
		if !strings.Contains(judged, "=?") {
			return display, true
		}
		once := judged
		if _, judged, ok = scanWords(once, "?"); !ok || !harmless(judged, domain) {
			return "", false
		}
		if judged == once || judged == "" { // no word in it
			return display, true
		}
	}
	return "", false
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
		if opaque(charset) {
			return "", "", false
		}
		if between := text[gap:i]; !found || strings.Trim(between, " \t") != "" { // RFC 2047 §6.2
			show.WriteString(between)
			check.WriteString(between)
		}
		shown, octetsOrText := convert(word, octets, charset)
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
	end := strings.Index(rest, until)
	if until == " " {
		if end < 0 {
			end = len(rest)
		}
		word = s[:len(s)-len(rest)+end]
		if i := strings.Index(rest[:end], "?="); i >= 0 {
			word = s[:len(s)-len(rest)+i+len("?=")]
			end = i
		}
	} else {
		if end < 0 || !strings.HasPrefix(rest[end:], "?=") {
			return "", nil, ""
		}
		word = s[:len(s)-len(rest)+end+len("?=")]
	}
	charset, _, _ = strings.Cut(strings.ToLower(charset), "*") // RFC 2231 §5: language
	if strings.EqualFold(enc, "q") {
		return word, decodeQ(rest[:end]), charset
	}
	return word, decodeB(rest[:end]), charset
}

// codePages are the numbers of IBM's and Microsoft's code pages that agree with
// ASCII, in order of appearance in mail; those not listed may be EBCDIC.
var codePages = []string{
	"866", "850", "437", "852", "858", "932", "936", "949", "950", "943", "874", "737", "775", "855", "857",
	"860", "861", "862", "863", "864", "865", "869", "1250", "1251", "1252", "1253", "1254", "1255", "1256",
	"1257", "1258", "65001",
}

// opaque reports a charset whose text, read as octets, could hide anything.
func opaque(charset string) bool {
	for _, s := range []string{"utf-7", "utf7", "ebcdic", "escape"} {
		if strings.Contains(charset, s) {
			return true
		}
	}
	for _, prefix := range []string{"ibm", "csibm", "x-ibm", "cp", "x-cp", "ccsid"} {
		number, ok := strings.CutPrefix(charset, prefix)
		if number = strings.TrimLeft(number, "-_0"); ok && number != "" && number[0] >= '0' && number[0] <= '9' {
			return japaneseCharsets[charset] == nil && !slices.Contains(codePages, number)
		}
	}
	return false
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

// convert returns the text of a word to show and the text to judge.
func convert(word string, octets []byte, charset string) (shown, judged string) {
	switch charset {
	case "utf-8", "utf8", "us-ascii":
		return string(octets), string(octets)
	case "iso-8859-1":
		var b strings.Builder
		for _, c := range octets {
			b.WriteRune(rune(c))
		}
		return b.String(), b.String()
	}
	if e := japaneseCharsets[charset]; e != nil {
		if text, err := e.NewDecoder().Bytes(octets); err == nil && utf8.Valid(text) {
			return string(text), string(text)
		}
	}
	return word, string(octets)
}

// bareAddress reports whether decoded text is, or lists, an address of another
// domain: who decodes first and parses then takes it for the author. Among
// other words, as in "joe@x.example via List", it is no address to them either.
func bareAddress(text, domain string) bool {
	for piece := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ';' }) {
		piece = strings.Trim(piece, " \t\"'")
		local, name, ok := strings.Cut(piece, "@")
		if ok && local != "" && strings.Contains(name, ".") && !strings.ContainsAny(piece, " \t") && !strings.EqualFold(name, domain) {
			return true
		}
	}
	return false
}

// harmless reports whether decoded text holds no line break or NUL and no
// address in angle brackets but of domain itself.
func harmless(text, domain string) bool {
	if strings.ContainsAny(text, "\x00\r\n") {
		return false
	}
	for {
		_, after, ok := strings.Cut(text, "<")
		if !ok {
			return true
		}
		inner, rest, _ := strings.Cut(after, ">")
		if i := strings.LastIndexByte(inner, '@'); i >= 0 && !strings.EqualFold(strings.TrimSpace(inner[i+1:]), domain) {
			return false
		}
		text = rest
	}
}
