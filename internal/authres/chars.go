package authres

import "strings"

// isAlnum reports an ASCII letter or digit.
func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// charSet is a set of ASCII characters.
type charSet [128]bool

func newCharSet(in func(c byte) bool) (set charSet) {
	for c := range set {
		set[c] = in(byte(c))
	}
	return set
}

// tokenChars and atomChars are what RFC 2045 §5.1 tokens and RFC 5322 atoms
// are made of.
var (
	tokenChars = newCharSet(func(c byte) bool {
		return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
	})
	atomChars = newCharSet(func(c byte) bool {
		return isAlnum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
	})
)

// isTokenChar reports a character of an RFC 2045 §5.1 token.
func isTokenChar(c byte) bool { return c < 0x80 && tokenChars[c] }

// isToken reports an RFC 2045 token.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isTokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

// isAtext reports a character of an RFC 5322 atom; RFC 6532 adds all non-ASCII.
func isAtext(c byte) bool { return c >= 0x80 || atomChars[c] }

// isDotAtom reports an RFC 5322 dot-atom-text.
func isDotAtom(s string) bool {
	atom := 0
	for i := 0; i < len(s); i++ {
		switch {
		case isAtext(s[i]):
			atom++
		case s[i] == '.' && atom > 0:
			atom = 0
		default:
			return false
		}
	}
	return atom > 0
}

// isDomainName reports a domain-name (RFC 6376 §3.5); non-ASCII stands for
// U-labels. A single label is let through.
func isDomainName(s string) bool {
	last := byte('.')
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isAlnum(c) || c >= 0x80:
		case c == '-' && last != '.':
		case c == '.' && last != '.' && last != '-':
		default:
			return false
		}
		last = c
	}
	return last != '.' && last != '-'
}

// isPlainAddress reports [local-part] "@" domain-name that needs no quotes.
// Local parts that are no tokens, such as prvs=x=user with its equals signs,
// would be legal too, but are easier to misread.
func isPlainAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || !isDomainName(domain) || !strings.Contains(domain, ".") || !isDotAtom(local) && local != "" {
		return false
	}
	for i := 0; i < len(local); i++ {
		if local[i] < 0x80 && !isTokenChar(local[i]) || local[i] == '\'' {
			return false
		}
	}
	return true
}
