package dns

import (
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Unicode returns the name with its A-labels converted to U-labels (RFC 5890 §2.3.2.1), for text
// that may contain UTF-8. It returns the name unchanged if the result would not convert back to the
// same name, or would show a character beyond ASCII that is not a letter, a mark or a digit.
func (n Name) Unicode() string {
	if !strings.Contains(string(n), "xn--") {
		return string(n)
	}
	u, err := idna.Punycode.ToUnicode(string(n))
	if err != nil {
		return string(n)
	}
	for i, r := range u {
		first := i == 0 || u[i-1] == '.'
		if r >= 0x80 && (!unicode.In(r, unicode.L, unicode.M, unicode.Nd) || first && unicode.IsMark(r)) {
			return string(n)
		}
	}
	if back, err := ParseName(u); err != nil || back != n {
		return string(n)
	}
	return u
}
