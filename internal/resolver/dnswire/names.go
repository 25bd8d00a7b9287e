package dnswire

import (
	"strconv"
	"strings"

	"sekimori/internal/dns"
)

// The codec uses the presentation form of RFC 1035 §5.1, in which special and unprintable octets
// are escaped. The rest of the daemon uses names and texts as raw octets. The functions of this
// file convert between the two forms.

// nameFromPresentation reads a name in the codec's form. It returns false for a name with a dot
// inside a label, because a dns.Name cannot hold such a name: the dot would look like a separator,
// and the result would be another name.
func nameFromPresentation(s string) (dns.Name, bool) {
	if s == "." {
		return "", true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			var used int
			if c, used = unescapeOne(s[i+1:]); c == '.' {
				return "", false
			}
			i += used
		}
		out = append(out, fold(c))
	}
	n := strings.TrimSuffix(string(out), ".")
	return dns.Name(n), n != "" && len(n) <= dns.MaxNameLen
}

// joinText joins the strings of a TXT record as raw octets (RFC 7208 §3.3).
func joinText(parts []string) string {
	var b strings.Builder
	for _, s := range parts {
		for i := 0; i < len(s); i++ {
			c := s[i]
			if c == '\\' {
				var used int
				c, used = unescapeOne(s[i+1:])
				i += used
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescapeOne reads the text after a backslash: three digits or one octet. It returns the octet
// that the escape means, and how many octets of s it read.
func unescapeOne(s string) (octet byte, used int) {
	if len(s) >= 3 {
		if n, err := strconv.ParseUint(s[:3], 10, 8); err == nil {
			return byte(n), 3
		}
	}
	if s == "" {
		return '\\', 0
	}
	return s[0], 1
}
