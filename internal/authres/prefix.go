package authres

import (
	"slices"
	"strings"
)

// Lengths of a header.b value. RFC 6008 §4 asks for at least eight characters.
// Signatures that agree in the first 64 are copies of each other.
const (
	minPrefix = 8
	maxPrefix = 64
)

// SignaturePrefixes takes the b= values of a message's signatures. For each it returns
// the header.b value that tells its result from those of the others: the first eight
// characters, or as many as that takes, at most 64 (RFC 6008 §4). Octets that are not
// base64 digits, such as white space and padding, are left out.
func SignaturePrefixes(signatures []string) []string {
	out := make([]string, len(signatures))
	if len(signatures) == 1 { // there is no other signature to tell it from
		out[0] = squeeze(signatures[0], minPrefix)
		return out
	}
	order := make([]int, len(signatures))
	for i, s := range signatures {
		out[i] = squeeze(s, maxPrefix)
		order[i] = i
	}
	// In sorted order, a value has its longest common prefix with one of its two
	// neighbours.
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
