package bimi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// hashOctets is how many octets of the SHA-256 of a picture Mark.Hash shows.
const hashOctets = 4

// Prepared returns m with what every message with this mark needs and what takes longer to compute
// than all else: its hash and the value of BIMI-Indicator. Whoever keeps marks should keep prepared
// ones.
func (m *Mark) Prepared() *Mark {
	out := *m
	out.hash, out.indicator = m.Hash(), m.Indicator()
	return &out
}

// Hash returns the last eight hexadecimal digits of the SHA-256 of the picture, as
// policy.indicator-hash has them.
func (m *Mark) Hash() string {
	if m.hash != "" {
		return m.hash
	}
	sum := sha256.Sum256(m.SVG)
	return hex.EncodeToString(sum[len(sum)-hashOctets:])
}

// indicatorLine is how many octets a line of BIMI-Indicator has, with the space before it.
const indicatorLine = 76

// Indicator returns the value of BIMI-Indicator: the picture in base64, in folded lines. Each line but
// the first begins with CRLF and a space.
func (m *Mark) Indicator() string {
	if m.indicator != "" || len(m.SVG) == 0 {
		return m.indicator
	}
	text := base64.StdEncoding.EncodeToString(m.SVG)
	const line = indicatorLine - 1
	var out strings.Builder
	for part := range slices.Chunk([]byte(text), line) {
		out.WriteString("\r\n ")
		out.Write(part)
	}
	return out.String()
}
