package syntax

import (
	"encoding/base64"
	"math"
	"strings"

	"sekimori/internal/taglist"
)

// decodeQP decodes dkim-quoted-printable (RFC 6376 §2.11).
func decodeQP(s string) (string, bool) {
	s = taglist.StripFWS(s)
	if !strings.Contains(s, "=") {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, lo := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), true
}

const upperHex = "0123456789ABCDEF"

// decodeBase64 decodes base64. It accepts missing padding, because some key
// generators leave it out.
func decodeBase64(s string) ([]byte, bool) { return appendBase64(nil, s) }

// appendBase64 is like decodeBase64, but appends to dst.
func appendBase64(dst []byte, s string) ([]byte, bool) {
	if strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 { // encoding/base64 would skip CR and LF
		return nil, false
	}
	s = strings.TrimRight(s, "=")
	b, err := base64.RawStdEncoding.AppendDecode(dst, []byte(s))
	return b, err == nil && len(b) > len(dst)
}

// parseUint reads a number of any length. A number that is too large becomes the
// largest int64: RFC 6376 §3.5 limits only the digits of l=, and calls a long t=
// or x= infinite.
func parseUint(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
