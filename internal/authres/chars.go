package authres

import "strings"

// isAlnum reports whether c is an ASCII letter or digit.
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

// tokenChars are the characters that a token may have (RFC 2045 §5.1). atomChars are the characters
// that an atom may have (RFC 5322).
var (
	tokenChars = newCharSet(func(c byte) bool {
		return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
	})
	atomChars = newCharSet(func(c byte) bool {
		return isAlnum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
	})
)

// isTokenChar reports whether a token may have c (RFC 2045 §5.1).
func isTokenChar(c byte) bool { return c < 0x80 && tokenChars[c] }

// isToken reports whether s is a token (RFC 2045 §5.1).
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isTokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

// isAtext reports whether an atom may have c (RFC 5322). RFC 6532 adds all octets beyond ASCII.
func isAtext(c byte) bool { return c >= 0x80 || atomChars[c] }

// isDotAtom reports whether s is a dot-atom-text (RFC 5322).
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

// isDomainName reports whether s is a domain-name (RFC 6376 §3.5). Octets beyond ASCII count as
// letters, because U-labels have such octets. A single label is accepted, too.
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

// isPlainAddress reports whether s is [local-part] "@" domain-name and needs no quotes. The local
// part must be a token. RFC 8601 allows other local parts without quotes, such as prvs=x=user, but
// some programs would misread the equals signs in them.
func isPlainAddress(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	if !isDomainName(domain) || !strings.Contains(domain, ".") || !isDotAtom(local) && local != "" {
		return false
	}
	for i := 0; i < len(local); i++ {
		if local[i] < 0x80 && !isTokenChar(local[i]) || local[i] == '\'' {
			return false
		}
	}
	return true
}
