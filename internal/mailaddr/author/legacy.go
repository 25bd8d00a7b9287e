package author

import (
	"strings"

	"sekimori/internal/mailaddr"
)

// Old mail magazines still have display names in the double-byte charsets of East Asia
// that are not encoded as RFC 2047 asks. Any octet of such text may be half of a
// character. Therefore a reader that knows the charset sees other quotes, commas,
// brackets and at signs than a reader that goes by octets.
//
// Such a field is read with every octet of these characters masked. It is accepted only
// if no reader can see an author of another domain in its octets: exactly one "@" is not
// part of a character, and it belongs to the author's address. After an "@" that is part
// of a character, nothing may follow that looks like a domain with a dot. Then the field
// has only one domain to show, whatever a reader makes of the rest.

const (
	escape = 0x1b
	masked = 0xff // not an octet of UTF-8, so it cannot be part of an address
)

// designations are the escape sequences of RFC 1468, and those of JIS X 0212 (RFC 1554)
// and of half-width katakana, which some clients send.
var designations = []struct {
	sequence string
	width    int // octets of a character; 0 stands for text like ASCII
}{
	{"\x1b$B", 2}, {"\x1b$@", 2}, {"\x1b$(D", 2}, {"\x1b(I", 1}, {"\x1b(B", 0}, {"\x1b(J", 0},
}

// legacyText is a field in two forms.
type legacyText struct {
	masked string // of the same length as the field
	plain  []byte // without escape sequences, and with hiddenAt for an "@" in a character
}

// hiddenAt replaces an "@" that is half of a character in legacyText.plain.
const hiddenAt = 0

// maskISO2022 masks unencoded ISO-2022-JP. Every line begins and ends in ASCII (RFC
// 1468).
func maskISO2022(s string) (legacyText, error) {
	t := legacyText{plain: make([]byte, 0, len(s))}
	out := []byte(s)
	width := 0
	for i := 0; i < len(s); {
		if s[i] == escape {
			n, w := designation(s[i:])
			if n == 0 {
				return t, &Error{KindMalformed, i, "control octet"}
			}
			// A reader that goes by octets sees an "@" in ESC $ @, too.
			if s[i+n-1] == '@' && dotted([]byte(s[i+n:])) {
				return t, &Error{KindAmbiguous, i, "unencoded text whose octets spell an address"}
			}
			fill(out[i : i+n])
			width = w
			i += n
			continue
		}
		if width == 0 {
			t.plain = append(t.plain, s[i])
			i++
			continue
		}
		for range width {
			if i == len(s) || s[i] <= ' ' || s[i] > '~' {
				return t, &Error{KindMalformed, min(i, len(s)-1), "unencoded ISO-2022-JP that does not end"}
			}
			out[i] = masked
			t.half(s[i])
			i++
		}
	}
	if width != 0 {
		return t, &Error{KindMalformed, len(s) - 1, "unencoded ISO-2022-JP that does not end"}
	}
	t.masked = string(out)
	return t, nil
}

// designation returns the length of the escape sequence that s begins with, and the width
// of the characters after it. The length is 0 if s does not begin with one.
func designation(s string) (n, width int) {
	for _, d := range designations {
		if strings.HasPrefix(s, d.sequence) {
			return len(d.sequence), d.width
		}
	}
	return 0, 0
}

// mask8Bit masks the octets that may be a character of two octets in Shift_JIS, Big5, GBK
// and similar charsets. The second octet may be any from "@" on, also a bracket or a
// backslash.
func mask8Bit(s string) legacyText {
	t := legacyText{plain: make([]byte, 0, len(s))}
	out := []byte(s)
	for i := 0; i < len(s); i++ {
		t.plain = append(t.plain, s[i])
		if s[i] <= 0x80 || i+1 == len(s) || s[i+1] < '@' || s[i+1] == 0x7f {
			continue
		}
		fill(out[i : i+2])
		i++
		t.half(s[i])
	}
	t.masked = string(out)
	return t
}

// half adds the second octet of a character to plain.
func (t *legacyText) half(c byte) {
	if c == '@' {
		c = hiddenAt
	}
	t.plain = append(t.plain, c)
}

// fill masks the octets of b.
func fill(b []byte) {
	for i := range b {
		b[i] = masked
	}
}

// check returns an error if a reader that goes by octets could see another author. It also
// refuses encoded words beside unencoded text: they would have to be judged in both
// readings, and clients do not write them.
func (t *legacyText) check() error {
	if !asciiDomain(t.masked) {
		return &Error{KindAmbiguous, strings.LastIndexByte(t.masked, '@'), "internationalized domain beside unencoded text"}
	}
	if i := strings.IndexByte(t.masked, '@'); i >= 0 && strings.IndexByte(t.masked[i+1:], '@') >= 0 {
		return &Error{KindAmbiguous, i, `several "@" beside unencoded text`}
	}
	for i := 0; i+1 < len(t.plain); i++ {
		switch {
		case t.plain[i] == '=' && t.plain[i+1] == '?':
			return &Error{KindAmbiguous, 0, "encoded word beside unencoded text"}
		case t.plain[i] == hiddenAt && dotted(t.plain[i+1:]):
			return &Error{KindAmbiguous, 0, "unencoded text whose octets spell an address"}
		}
	}
	return nil
}

// dotted reports whether a reader might take the beginning of s for a domain with a dot in
// it, even with white space between. It stops at the next hiddenAt, so that a call for
// each of them costs linear time in all.
func dotted(s []byte) bool {
	dot := false
	for _, c := range s {
		switch {
		case c == '.':
			dot = true
		case isFWS(c):
		case mailaddr.IsAtom(c):
			if dot {
				return true
			}
		default:
			return false
		}
	}
	return false
}

// parse reads the masked field and checks the octets behind the mask.
func (t *legacyText) parse() (*parser, error) {
	p, err := parseOctets(t.masked)
	if err != nil {
		return nil, err
	}
	return p, t.check()
}

// parseOctets reads a field as a mailbox-list, octet by octet.
func parseOctets(s string) (*parser, error) {
	if err := checkOctets(s); err != nil {
		return nil, err
	}
	p := newParser(s)
	return p, p.list()
}
