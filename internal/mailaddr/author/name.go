package author

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/printable"
)

// isULabelForm reports whether text is the same as the U-labels of name (RFC 5890 §2.3.2.1). text
// was parsed as name. The parser also accepts and maps full-width letters, ideographic stops and
// decomposed accents. A client that does not map them in the same way might show or look up another
// name.
func isULabelForm(text string, name dns.Name) bool {
	if printable.IsASCII(text) {
		return true
	}
	for _, r := range text {
		if r >= 0x80 && !isLabelRune(r) {
			return false
		}
	}
	u, err := idna.Punycode.ToUnicode(string(name))
	if err != nil {
		return false
	}
	in, out := strings.Split(strings.TrimSuffix(text, "."), "."), strings.Split(u, ".")
	asLabels := strings.Split(string(name), ".")
	if len(in) != len(out) || len(in) != len(asLabels) {
		return false
	}
	for i := range in {
		want := out[i]
		if printable.IsASCII(in[i]) {
			want = asLabels[i] // an ASCII label must stay as it is, also one that begins with xn--
		}
		if strings.ToLower(in[i]) != want {
			return false
		}
	}
	return true
}

// isLabelRune reports whether RFC 5892 can allow r, which is beyond ASCII, in a label. It allows
// letters, digits, marks, and a few other characters in some contexts. The package idna also
// accepts symbols, such as characters that look like a slash. Some clients show these symbols,
// others show the A-label.
func isLabelRune(r rune) bool {
	if 0x334 <= r && r <= 0x338 { // marks that draw a stroke or a slash through the letter before them
		return false
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd) || r == 0xb7 || r == 0x375 || r == 0x5f3 || r == 0x5f4 || r == 0x30fb
}

// hasHidden reports whether s has a character beyond ASCII that a person does not see, that moves
// other characters, or that looks like a delimiter of an address.
func hasHidden(s string) bool {
	if printable.IsASCII(s) {
		return false
	}
	for _, r := range s {
		if r < 0x80 {
			continue
		}
		if unicode.In(r, unicode.C, unicode.Z, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return true
		}
		switch r {
		case 0x2800, // braille blank
			0xFF20, 0xFE6B, // look like @
			0xFF1C, 0xFF1E, 0xFE64, 0xFE65, // look like < and >
			0xFF0C, 0xFE50, 0xFF1B, 0xFE54, // look like , and ;
			0xFF02, 0xFF08, 0xFF09: // look like ", ( and )
			return true
		}
	}
	return false
}

// authorDomain checks a domain and returns it in A-labels (RFC 9989 §5.3.1). at is the offset of
// the domain, for the error.
func authorDomain(text string, at int) (dns.Name, error) {
	switch {
	case !utf8.ValidString(text):
		return "", &Error{KindMalformed, at, "8-bit octets in an address that are not UTF-8"}
	case hasHidden(text):
		return "", &Error{KindAmbiguous, at, "invisible character in an address"}
	}
	name, err := mailaddr.ParseDomain(text)
	if err != nil {
		return "", &Error{KindMalformed, at, "domain that is not a host name"}
	}
	if !isULabelForm(text, name) {
		return "", &Error{KindAmbiguous, at, "internationalized domain that is not in its valid form"}
	}
	return name, nil
}
