package report

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"strings"
)

// A bounce token is the id of a delivery in decimal, a hyphen, and 48 bits of an HMAC of the id, in
// lower-case base32. It stands in the return path of a report, after the "+" of the local part. An MTA
// may change the case of a local part, so the token has no meaning in its case.
const (
	macOctets = 6
	macLen    = 10 // of macOctets in base32, without padding
	// MaxTokenLen is the length of the longest token, in octets. A delivery id has at most 19 digits.
	MaxTokenLen = 19 + 1 + macLen
)

// tokenPurpose separates this use of the store's secret from all others.
const tokenPurpose = "sekimori bounce token\x00"

// BounceToken returns the token of a delivery, for the return path of its mail. The secret is that of
// the store. Without the secret, nobody can make up the token of another delivery, so nobody can make
// us stop the reports to somebody else's address.
func BounceToken(secret []byte, delivery int64) string {
	return strconv.FormatInt(delivery, 10) + "-" + tokenMAC(secret, delivery)
}

// ParseBounceToken returns the delivery that a token names. It returns false for anything that
// BounceToken did not make with this secret.
func ParseBounceToken(secret []byte, token string) (delivery int64, ok bool) {
	if len(token) > MaxTokenLen {
		return 0, false
	}
	digits, mac, _ := strings.Cut(token, "-")
	id, _ := strconv.ParseInt(digits, 10, 64)
	if id <= 0 || strconv.FormatInt(id, 10) != digits { // also if digits is not a number
		return 0, false
	}
	return id, hmac.Equal([]byte(asciiLower(mac)), []byte(tokenMAC(secret, id)))
}

func tokenMAC(secret []byte, delivery int64) string {
	h := hmac.New(sha256.New, secret)
	h.Write(binary.BigEndian.AppendUint64([]byte(tokenPurpose), uint64(delivery)))
	return asciiLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:macOctets]))
}

// asciiLower is strings.ToLower without the letters beyond ASCII whose lower case is an ASCII letter.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// BounceLocal returns the local part of the return path: a base, such as "dmarc-bounce", "+" and the
// token. BounceTokenOf reverses it.
func BounceLocal(base, token string) string { return base + "+" + token }

// BounceTokenOf returns the token in a local part that BounceLocal made with this base. The base is
// compared without regard to case. It returns false for every other local part.
func BounceTokenOf(base, local string) (token string, ok bool) {
	if len(local) <= len(base)+1 || len(local) > len(base)+1+MaxTokenLen || local[len(base)] != '+' || asciiLower(local[:len(base)]) != asciiLower(base) {
		return "", false
	}
	return local[len(base)+1:], true
}
