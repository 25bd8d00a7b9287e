package mailaddr

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
)

// japaneseCharsets are the names and code pages that Japanese clients send. In a
// double-byte charset the octets of an angle bracket are parts of common
// characters, so that the text can only be judged decoded.
var japaneseCharsets = map[string]encoding.Encoding{
	"csiso2022jp": japanese.ISO2022JP, "50220": japanese.ISO2022JP, "50221": japanese.ISO2022JP, "50222": japanese.ISO2022JP,
	"shift_jis": japanese.ShiftJIS, "shift-jis": japanese.ShiftJIS, "sjis": japanese.ShiftJIS, "x-sjis": japanese.ShiftJIS,
	"ms_kanji": japanese.ShiftJIS, "csshiftjis": japanese.ShiftJIS, "windows-31j": japanese.ShiftJIS, "cswindows31j": japanese.ShiftJIS,
	"932": japanese.ShiftJIS, "942": japanese.ShiftJIS, "943": japanese.ShiftJIS,
	"euc-jp": japanese.EUCJP, "eucjp": japanese.EUCJP, "x-euc-jp": japanese.EUCJP, "eucjp-ms": japanese.EUCJP, "eucjp-win": japanese.EUCJP,
	"ujis": japanese.EUCJP, "51932": japanese.EUCJP, "20932": japanese.EUCJP,
}

// japaneseCharset returns the decoder of a charset, nil if it is not Japanese.
// Every variant of ISO-2022-JP escapes to the same sets.
func japaneseCharset(charset string) encoding.Encoding {
	if strings.HasPrefix(charset, "iso-2022-jp") || strings.HasPrefix(charset, "iso2022jp") {
		return japanese.ISO2022JP
	}
	if e := japaneseCharsets[charset]; e != nil {
		return e
	}
	if page := codePage(charset); page > 0 {
		return japaneseCharsets[strconv.Itoa(page)]
	}
	return nil
}

// opaque reports a charset whose text, read as octets, could hide anything.
func opaque(charset string) bool {
	for _, s := range []string{"utf-7", "utf7", "escape"} {
		if strings.Contains(charset, s) {
			return true
		}
	}
	return codePage(charset) == 65000 // Windows' number for UTF-7
}

// codePages are the prefixes of charsets known by number; "" is the number
// alone, which some programs send.
var codePages = []string{"ibm", "csibm", "x-ibm", "cp", "x-cp", "ccsid", "ms", "windows", "x-windows", ""}

// codePage returns the number of a charset that is IBM's or Microsoft's code page,
// 0 if it is none. What follows the number names a variant: ibm-943_P15A.
func codePage(charset string) int {
	for _, prefix := range codePages {
		number, ok := strings.CutPrefix(charset, prefix)
		number = strings.TrimLeft(number, "-_")
		end := 0
		for end < len(number) && '0' <= number[end] && number[end] <= '9' {
			end++
		}
		if !ok || prefix == "" && end < len(number) {
			continue
		}
		if n, err := strconv.Atoi(number[:end]); err == nil {
			return n
		}
	}
	return 0
}

// ebcdicPages are the code pages that disagree with ASCII where it matters.
// Every other one, and every charset known by name, keeps its "<" and "@".
var ebcdicPages = []int{
	37, 256, 259, 273, 274, 275, 277, 278, 280, 281, 282, 284, 285, 286, 290, 293, 297, 300, 410, 420, 421, 423, 424, 425, 500, 803, 833, 834,
	835, 836, 837, 838, 839, 870, 871, 875, 880, 905, 918, 924, 930, 931, 933, 935, 937, 939, 1002, 1003, 1005, 1025, 1026, 1027,
	1028, 1031, 1032, 1033, 1037, 1039, 1047, 1068, 1069, 1071, 1073, 1074, 1075, 1076, 1077, 1078, 1079, 1080, 1081, 1082, 1083,
	1084, 1085, 1087, 1091, 1093, 1097, 1110, 1112, 1113, 1122, 1123, 1130, 1132, 1136, 1137, 1140, 1141, 1142, 1143, 1144, 1145,
	1146, 1147, 1148, 1149, 1150, 1151, 1152, 1153, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1164, 1165, 1166, 1303, 1364, 1371, 1376,
	1377, 1378, 1379, 1388, 1390, 1399, 8612, 12708, 21025, 21027, 28709,
}

// ebcdic reports a charset of the EBCDIC family. Microsoft adds 20000 to IBM's
// numbers, IBM multiples of 4096 for variants.
func ebcdic(charset string) bool {
	n := codePage(charset)
	return strings.Contains(charset, "ebcdic") || slices.ContainsFunc([]int{n, n - 20000, n % 4096}, func(page int) bool {
		return slices.Contains(ebcdicPages, page)
	})
}

// ebcdicText decodes text of an EBCDIC charset. Letters, digits, dots and angle
// brackets are the same in all of them, but not the "@". So it reports false
// for text with an angle bracket, which might be an address.
func ebcdicText(octets []byte) (string, bool) {
	text, err := charmap.CodePage037.NewDecoder().Bytes(octets)
	return string(text), err == nil && !strings.Contains(string(text), "<")
}
