package author

import (
	"strings"

	"sekimori/internal/mailaddr"
)

// In some old mail magazines, a display name is in a double-byte charset of East Asia, without the
// encoded words that RFC 2047 asks for. Any octet of such text may be half of a character. A
// program that knows the charset therefore finds other quotes, commas, brackets and at signs in it
// than a program that looks at single octets.
//
// The field is parsed with every octet of such a character masked, that is, replaced by 0xff. It is
// accepted only if a program that looks at single octets cannot see an author of another domain:
//
//   - Exactly one "@" is not part of a character, and it belongs to the author's address.
//   - After an "@" that is part of a character, nothing follows that looks like a domain with a
//     dot.
//
// Then no program can find more than one domain in the field, even if it cannot read the other text
// of the field.

const (
	escape = 0x1b
	masked = 0xff // never occurs in UTF-8, so it cannot be part of an address
)

// designations are the escape sequences that change the character set: those of RFC 1468, and those
// of JIS X 0212 (RFC 1554) and half-width katakana, which some clients send.
var designations = []struct {
	sequence string
	width    int // octets per character; 0 means that text like ASCII follows
}{
	{"\x1b$B", 2}, {"\x1b$@", 2}, {"\x1b$(D", 2}, {"\x1b(I", 1}, {"\x1b(B", 0}, {"\x1b(J", 0},
}

// legacyText has two forms of a field with unencoded double-byte text.
type legacyText struct {
	masked string // the field with its double-byte text masked; the length is the same
	plain  []byte // the octets without escape sequences, and with hiddenAt in place of an "@" that is part of a character
}

// hiddenAt replaces an "@" that is part of a character in legacyText.plain.
const hiddenAt = 0

// maskISO2022 masks unencoded ISO-2022-JP. RFC 1468 requires that every line begins and ends in
// ASCII.
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
			// A program that looks at single octets also sees the "@" of ESC $ @.
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

// designation looks for an escape sequence at the beginning of s. It returns the length of the
// sequence, and the number of octets per character after it. The length is 0 if s does not begin
// with an escape sequence.
func designation(s string) (n, width int) {
	for _, d := range designations {
		if strings.HasPrefix(s, d.sequence) {
			return len(d.sequence), d.width
		}
	}
	return 0, 0
}

// mask8Bit masks each pair of octets that may be one character in Shift_JIS, Big5, GBK and similar
// charsets. The second octet of the pair may be any octet from "@" on, even a bracket or a
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

// half appends an octet that is part of a character to plain. It replaces an "@" by hiddenAt.
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

// check returns an error if a program that looks at single octets could see another author. It also
// refuses a field that has encoded words beside unencoded text. Mail clients do not write such
// fields, and each kind of program would read the words differently.
func (t *legacyText) check() error {
	if !asciiDomain(t.masked) {
		return &Error{KindAmbiguous, strings.LastIndexByte(t.masked, '@'), "internationalized domain beside unencoded text"}
	}
	if strings.Count(t.masked, "@") > 1 {
		return &Error{KindAmbiguous, strings.IndexByte(t.masked, '@'), `several "@" beside unencoded text`}
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

// dotted reports whether a program could find a domain with a dot at the beginning of s. The domain
// may have white space in it. dotted stops at the next hiddenAt. Therefore, if dotted is called for
// each hiddenAt of a text, all calls together take linear time.
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

// parse parses the masked field and then checks the octets that were masked.
func (t *legacyText) parse() (*parser, error) {
	p, err := parseOctets(t.masked)
	if err != nil {
		return nil, err
	}
	return p, t.check()
}

// parseOctets parses a field as a mailbox-list. Every octet below 0x80 counts as the ASCII
// character.
func parseOctets(s string) (*parser, error) {
	if err := checkOctets(s); err != nil {
		return nil, err
	}
	p := newParser(s)
	return p, p.list()
}
