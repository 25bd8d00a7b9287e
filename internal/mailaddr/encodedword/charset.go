package encodedword

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
)

// japaneseCharsets are the names and code pages that Japanese clients send. In a double-byte
// charset, the octet of an angle bracket is also a part of common characters. Therefore the decoded
// text must be judged, not the octets.
var japaneseCharsets = map[string]encoding.Encoding{
	"csiso2022jp": japanese.ISO2022JP, "50220": japanese.ISO2022JP, "50221": japanese.ISO2022JP, "50222": japanese.ISO2022JP,
	"shiftjis": japanese.ShiftJIS, "sjis": japanese.ShiftJIS, "xsjis": japanese.ShiftJIS,
	"mskanji": japanese.ShiftJIS, "csshiftjis": japanese.ShiftJIS, "windows31j": japanese.ShiftJIS, "cswindows31j": japanese.ShiftJIS,
	"932": japanese.ShiftJIS, "942": japanese.ShiftJIS, "943": japanese.ShiftJIS,
	"eucjp": japanese.EUCJP, "xeucjp": japanese.EUCJP, "eucjpms": japanese.EUCJP, "eucjpwin": japanese.EUCJP,
	"ujis": japanese.EUCJP, "51932": japanese.EUCJP, "20932": japanese.EUCJP,
}

// japaneseCharset returns the decoder of a charset, or nil if the charset is not Japanese. All
// variants of ISO-2022-JP have the same decoder, because they use the same escape sequences.
func japaneseCharset(charset string) encoding.Encoding {
	name := plainName(charset)
	if strings.HasPrefix(name, "iso2022jp") {
		return japanese.ISO2022JP
	}
	if e := japaneseCharsets[name]; e != nil {
		return e
	}
	if page := codePage(charset); page > 0 {
		return japaneseCharsets[strconv.Itoa(page)]
	}
	return nil
}

// plainName returns only the letters and digits of the name of a charset. Some programs ignore all
// other characters: Python reads "utf_7" and "UTF~7" as UTF-7.
func plainName(charset string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, charset)
}

// esc is the first octet of the sequences by which ISO-2022 changes the set of characters.
const esc = 0x1b

// unreadable stands for octets that are not a character of their own.
const unreadable = "\ufffd"

// opaque reports whether an ASCII octet of a text in this charset may stand for another character.
// That is the case for UTF-7 (also in the form of IMAP), for BOCU-1, and for Python codecs that
// decode escapes.
func opaque(charset string) bool {
	name := plainName(charset)
	for _, s := range []string{"utf7", "imap", "bocu", "escape"} {
		if strings.Contains(name, s) {
			return true
		}
	}
	return name == "u7" || codePage(charset) == 65000 // the names of UTF-7 in Python and Windows
}

// shifting reports whether this is a 7-bit charset that can switch to another set of characters.
// After such a shift, the octets of "<" and "@" are parts of other characters.
func shifting(charset string) bool {
	name := plainName(charset)
	page := codePage(charset)
	return strings.Contains(name, "2022") || strings.HasPrefix(name, "hz") || 50220 <= page && page <= 50229 || page == 52936
}

// unshifted returns the text of a charset that shifts. It has U+FFFD in place of each octet after a
// shift. It reports false if the text has a shift for a single character, because the number of
// octets of that character is not known.
func unshifted(octets []byte) (string, bool) {
	var b strings.Builder
	set, out := false, false // set: an escape sequence has chosen another set; out: the text has shifted to it
	for i := 0; i < len(octets); i++ {
		c := octets[i]
		next := byte(0)
		if i+1 < len(octets) {
			next = octets[i+1]
		}
		switch {
		case c == esc && (next == 'N' || next == 'O'):
			return "", false
		case c == esc:
			end := i + 1
			for end < len(octets) && ' ' <= octets[end] && octets[end] < '0' {
				end++
			}
			designated := string(octets[i+1 : min(end+1, len(octets))])
			switch {
			case designated == "(B" || designated == "(J":
				set = false
			case strings.HasPrefix(designated, "("), strings.HasPrefix(designated, "$("),
				strings.HasPrefix(designated, "$") && len(designated) == 2:
				set = true
			}
			i = end
		case c == 0x0e, c == 0x0f:
			out = c == 0x0e
		case c == '~' && (next == '{' || next == '}'): // HZ
			out = next == '{'
			i++
		case c < ' ' || !set && !out:
			b.WriteByte(c)
		default:
			b.WriteString(unreadable)
		}
	}
	return b.String(), true
}

// johab reports whether this is the Korean charset Johab, in which a character can end with the
// octet of "<", ">" or "@".
func johab(charset string) bool {
	return strings.Contains(charset, "johab") || codePage(charset) == 1361
}

// withoutPairs returns text with U+FFFD in place of each octet beyond ASCII and the octet after it.
func withoutPairs(octets []byte) string {
	var b strings.Builder
	for i := 0; i < len(octets); i++ {
		if octets[i] < 0x80 {
			b.WriteByte(octets[i])
			continue
		}
		b.WriteString(unreadable)
		if i+1 < len(octets) && octets[i+1] > ' ' {
			i++
		}
	}
	return b.String()
}

// codePages are the prefixes of charset names that have the number of a code page. "" stands for a
// name that is only a number, which some programs send.
var codePages = []string{"ibm", "csibm", "xibm", "cp", "xcp", "ccsid", "ms", "windows", "xwindows", ""}

// codePage returns the number of a code page of IBM or Microsoft. It returns 0 if the charset has
// no such number. Text after the number names a variant, as in ibm-943_P15A.
func codePage(charset string) int {
	start := strings.IndexAny(charset, "0123456789")
	if start < 0 {
		return 0
	}
	end := start
	for end < len(charset) && '0' <= charset[end] && charset[end] <= '9' {
		end++
	}
	prefix := plainName(charset[:start])
	if !slices.Contains(codePages, prefix) || prefix == "" && end < len(charset) {
		return 0
	}
	n, err := strconv.Atoi(charset[start:end])
	if err != nil {
		return 0
	}
	return n
}

// ebcdicPages are the code pages of EBCDIC, in which the octets of "<", "@" and other characters
// differ from ASCII. All other code pages have "<" and "@" where ASCII has them.
var ebcdicPages = []int{
	37, 38, 39, 256, 259, 273, 274, 275, 277, 278, 280, 281, 282, 284, 285, 286, 290, 293, 297, 300, 410, 420, 421, 423, 424, 425,
	500, 803, 833, 834,
	835, 836, 837, 838, 839, 870, 871, 875, 880, 905, 918, 924, 930, 931, 933, 935, 937, 939, 1002, 1003, 1005, 1025, 1026, 1027,
	1028, 1031, 1032, 1033, 1037, 1039, 1047, 1068, 1069, 1071, 1073, 1074, 1075, 1076, 1077, 1078, 1079, 1080, 1081, 1082, 1083,
	1084, 1085, 1087, 1091, 1093, 1097, 1110, 1112, 1113, 1122, 1123, 1130, 1132, 1136, 1137, 1140, 1141, 1142, 1143, 1144, 1145,
	1146, 1147, 1148, 1149, 1150, 1151, 1152, 1153, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1164, 1165, 1166, 1303, 1364, 1371, 1376,
	1377, 1378, 1379, 1388, 1390, 1399, 8612, 12708, 21025, 21027, 28709,
}

// ebcdic reports whether this is an EBCDIC charset. Microsoft adds 20000 to the numbers of IBM, and
// IBM adds multiples of 4096 for variants. The GNU C library also knows some EBCDIC charsets by
// names of the OSF.
func ebcdic(charset string) bool {
	n := codePage(charset)
	name := plainName(charset)
	if strings.Contains(name, "ebcdic") || strings.HasPrefix(name, "osf1002") {
		return true
	}
	return slices.ContainsFunc([]int{n, n - 20000, n % 4096}, func(page int) bool { return slices.Contains(ebcdicPages, page) })
}

// ebcdicText decodes text of an EBCDIC charset as code page 37. Letters, digits, dots and angle
// brackets are the same in all EBCDIC charsets, but "@" is not. Therefore ebcdicText reports false
// for text with an opening angle bracket, which might begin an address.
func ebcdicText(octets []byte) (string, bool) {
	var b strings.Builder
	for _, c := range octets {
		b.WriteRune(charmap.CodePage037.DecodeByte(c))
	}
	return b.String(), !strings.Contains(b.String(), "<")
}
