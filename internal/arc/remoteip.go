package arc

import (
	"net/netip"
	"strings"
)

// remoteIP finds smtp.remote-ip among the properties of an
// ARC-Authentication-Results payload (RFC 8617 §10.2). It skips comments and
// quoted strings, because a sender can put any text into them.
func remoteIP(payload string) netip.Addr {
	const property = "smtp.remote-ip"
	for s := payload; s != ""; {
		s = skipCFWS(s)
		word, rest := nextWord(s)
		after, ok := strings.CutPrefix(skipCFWS(rest), "=")
		if !strings.EqualFold(word, property) || !ok {
			s = rest
			continue
		}
		value, _ := nextWord(skipCFWS(after))
		value = strings.Trim(value, `"`)
		if addr, err := netip.ParseAddr(strings.TrimPrefix(value, "IPv6:")); err == nil {
			return addr.WithZone("").Unmap()
		}
		return netip.Addr{}
	}
	return netip.Addr{}
}

// nextWord cuts a word, a quoted string or one separator off the front of s,
// which must not begin with white space or a comment.
func nextWord(s string) (word, rest string) {
	if s == "" {
		return "", ""
	}
	if s[0] == '"' {
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '"':
				return s[:i+1], s[i+1:]
			}
		}
		return s, ""
	}
	if i := strings.IndexAny(s, " \t\r\n;=(\""); i > 0 {
		return s[:i], s[i:]
	} else if i == 0 {
		return s[:1], s[1:]
	}
	return s, ""
}
