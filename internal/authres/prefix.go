package authres

import (
	"slices"
	"strings"
)

// These are the lengths of the shortest and the longest header.b value. RFC 6008 §4 asks for at
// least eight characters. More than 64 are not needed, because two signatures with the same first
// 64 characters are copies of each other.
const (
	minPrefix = 8
	maxPrefix = 64
)

// SignaturePrefixes takes the b= values of the signatures of a message. For each value it returns
// the prefix to write in header.b, from which a program can see which signature a result belongs to
// (RFC 6008 §4). A prefix has eight characters. If it would be the same as another prefix, it has
// more, up to 64. Octets that are not base64 digits, such as white space and padding, are left out.
func SignaturePrefixes(signatures []string) []string {
	out := make([]string, len(signatures))
	if len(signatures) == 1 { // a single signature needs only the shortest prefix
		out[0] = squeeze(signatures[0], minPrefix)
		return out
	}
	order := make([]int, len(signatures))
	for i, s := range signatures {
		out[i] = squeeze(s, maxPrefix)
		order[i] = i
	}
	// In sorted order, each value has its longest common prefix with the value before or after it.
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(out[a], out[b]) })
	need := make([]int, len(signatures))
	for i, at := range order {
		need[at] = max(need[at], minPrefix)
		if i > 0 {
			prev := order[i-1]
			n := common(out[prev], out[at]) + 1
			need[prev], need[at] = max(need[prev], n), max(need[at], n)
		}
	}
	for i, s := range out {
		out[i] = s[:min(len(s), need[i])]
	}
	return out
}

// squeeze returns the first n base64 digits of s.
func squeeze(s string, n int) string {
	plain := 0
	for plain < min(n, len(s)) && isBase64(s[plain]) {
		plain++
	}
	if plain == n || plain == len(s) {
		return s[:plain]
	}
	b := make([]byte, 0, n)
	for i := 0; i < len(s) && len(b) < n; i++ {
		if isBase64(s[i]) {
			b = append(b, s[i])
		}
	}
	return string(b)
}

func isBase64(c byte) bool { return isAlnum(c) || c == '+' || c == '/' }

// common returns the length of the longest common prefix of a and b.
func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
