package encodedword

import (
	"encoding/base64"
	"strings"
)

// encodedWord returns the encoded word at the beginning of s, or "" if there is none. The parameter
// "until" is explained at the type reader. encodedWord looks for the end of a word only after a
// valid beginning. Therefore a field full of "=?" takes only linear time.
func encodedWord(s, until string) (word string, octets []byte, charset string) {
	charset, rest, _ := strings.Cut(s[len("=?"):], "?")
	enc, rest, ok := strings.Cut(rest, "?")
	if !ok || !strings.EqualFold(enc, "q") && !strings.EqualFold(enc, "b") {
		return "", nil, ""
	}
	end, next, ok := wordEnd(rest, until)
	if !ok {
		return "", nil, ""
	}
	word = s[:len(s)-len(rest)+next]
	charset, _, _ = strings.Cut(strings.ToLower(charset), "*") // RFC 2231 §5: a language may follow the charset
	if strings.EqualFold(enc, "q") {
		return word, decodeQ(rest[:end]), charset
	}
	return word, decodeB(rest[:end]), charset
}

// wordEnd returns where in s the text of an encoded word ends, and where the text after the word
// begins. It reads s only that far.
func wordEnd(s, until string) (end, next int, ok bool) {
	if until == " " {
		for end < len(s) && s[end] != ' ' {
			if strings.HasPrefix(s[end:], "?=") {
				return end, end + len("?="), true
			}
			end++
		}
		return end, end, true
	}
	end = strings.Index(s, until)
	return end, end + len("?="), end >= 0 && strings.HasPrefix(s[end:], "?=")
}

// decodeQ decodes the encoding "Q" (RFC 2047 §4.2). Invalid escapes stay as they are.
func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

// unhex returns the value of a hexadecimal digit, or 16 if c is not one.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// decodeB decodes the encoding "B" (RFC 2047 §4.1) as the most tolerant clients do. It skips
// characters that are not base64. Padding may be missing or in the middle.
func decodeB(s string) []byte {
	out := make([]byte, 0, len(s))
	for part := range strings.SplitSeq(s, "=") {
		clean := make([]byte, 0, len(part))
		for i := 0; i < len(part); i++ {
			switch c := part[i]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/':
				clean = append(clean, c)
			}
		}
		if len(clean)%4 == 1 {
			clean = clean[:len(clean)-1]
		}
		// This cannot fail: clean has only base64 digits, and its length is possible.
		out, _ = base64.RawStdEncoding.AppendDecode(out, clean)
	}
	return out
}
