package postgres

import (
	"crypto/sha256"
	"strings"
	"time"
	"unicode/utf8"

	"sekimori/internal/dns"
)

// escape returns s as PostgreSQL can store it: a text is valid UTF-8 without NUL. All other octets
// become \xHH, and a backslash becomes two, so different strings stay different.
func escape(s string) string {
	if utf8.ValidString(s) && !strings.ContainsAny(s, "\x00\\") {
		return s
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == 0, r == utf8.RuneError && n == 1:
			b.Write([]byte{'\\', 'x', hex[s[0]>>4], hex[s[0]&15]})
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// unescape returns the string that escape was given.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		switch {
		case len(s) >= 4 && s[:2] == `\x`:
			b.WriteByte(digit(s[2])<<4 | digit(s[3]))
			s = s[4:]
		case len(s) >= 2 && s[0] == '\\':
			b.WriteByte(s[1])
			s = s[2:]
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String()
}

func digit(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// maxName is how many octets of a domain a sighting keeps. A domain name has at most 253, and an index
// takes no more than some 2,700.
const maxName = 253

// name returns a domain as the table seen has it.
func name(d dns.Name) string {
	s := escape(string(d))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}

// digest returns what stands for a string in an index. An index cannot hold a long text.
func digest(s string) [16]byte {
	sum := sha256.Sum256([]byte(s))
	return [16]byte(sum[:16])
}

// orNull returns NULL for the zero time.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// orZero is the reverse of orNull. PostgreSQL gives times in the zone of this host.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
