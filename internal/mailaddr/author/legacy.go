package author

import (
	"strings"

	"sekimori/internal/mailaddr"
)

// Text in the double-byte charsets of East Asia, not encoded as RFC 2047 asks,
// is still what old mail magazines have for a display name. Any octet of it may
// be half of a character, so a reader who knows the charset and one who goes by
// octets see different quotes, commas, brackets and at signs.
//
// Such a field is read with every half of a character masked, and accepted
// only if the octets leave no other reader an author of another domain: exactly
// one "@" is not part of a character, and it is the author's; an "@" that is
// part of one is not followed by anything like a domain with a dot. Whatever
// a reader then makes of the rest, there is one domain in the field to show.

const (
	escape = 0x1b
	masked = 0xff // never an octet of UTF-8, so never of an address
)

// designations are the escape sequences of RFC 1468 and those its neighbours
// add: JIS X 0212 (RFC 1554) and half-width katakana, which some clients send.
var designations = []struct {
	sequence string
	width    int // octets a character; 0 is text like ASCII
}{
	{"\x1b$B", 2}, {"\x1b$@", 2}, {"\x1b$(D", 2}, {"\x1b(I", 1}, {"\x1b(B", 0}, {"\x1b(J", 0},
}

// legacyText is a field in two forms.
type legacyText struct {
	masked string // as long as the field
	plain  []byte // without escape sequences, an "@" in a character as hiddenAt
}

// hiddenAt stands in legacyText.plain for an "@" that is half of a character.
const hiddenAt = 0

// maskISO2022 masks unencoded ISO-2022-JP. Lines begin and end as ASCII
// (RFC 1468).
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
			// The "@" of ESC $ @ is one to a reader by octets, too.
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

// designation returns the length of the escape sequence s begins with, 0 if it
// is none, and the width of what follows.
func designation(s string) (n, width int) {
	for _, d := range designations {
		if strings.HasPrefix(s, d.sequence) {
			return len(d.sequence), d.width
		}
	}
	return 0, 0
}

// mask8Bit masks what may be characters of two octets in Shift_JIS, Big5, GBK
// and the like: the second may be any from "@" on, brackets and backslash among
// them.
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

func (t *legacyText) half(c byte) {
	if c == '@' {
		c = hiddenAt
	}
	t.plain = append(t.plain, c)
}

func fill(b []byte) {
	for i := range b {
		b[i] = masked
	}
}

// check reports what could be another author to a reader by octets. Encoded
// words beside unencoded text would have to be judged in both readings; nobody
// writes them.
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

// dotted reports whether s begins with something a reader might take for a
// domain with a dot in it, generously. It stops at the next hiddenAt, so that
// calling it for each costs linear time.
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

func (t *legacyText) parse() (*parser, error) {
	p, err := parseOctets(t.masked)
	if err != nil {
		return nil, err
	}
	return p, t.check()
}

func parseOctets(s string) (*parser, error) {
	if err := checkOctets(s); err != nil {
		return nil, err
	}
	p := newParser(s)
	return p, p.list()
}
