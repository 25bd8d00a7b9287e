package consent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sekimori/internal/policy"
	"sekimori/internal/printable"
)

// maxReply is the longest answer of a socketmap, in octets. A useful answer is
// one word, or the reason of a failure.
const maxReply = 4096

// maxReplyDigits is how many digits the length of a netstring may have.
const maxReplyDigits = 4

var errNetstring = errors.New("consent: the socketmap's answer is not a netstring")

// appendNetstring appends a netstring as D. J. Bernstein defined it: LENGTH ":"
// octets ",".
func appendNetstring(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, ',')
}

// readNetstring reads one netstring of at most maxReply octets.
func readNetstring(r *bufio.Reader) (string, error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		if err != nil {
			return "", fmt.Errorf("consent: reading the socketmap's answer: %w", err)
		}
		if c == ':' && digits > 0 {
			break
		}
		if c < '0' || c > '9' || digits == maxReplyDigits || digits == 1 && n == 0 {
			return "", errNetstring
		}
		n = n*10 + int(c-'0')
	}
	if n > maxReply {
		return "", fmt.Errorf("consent: the socketmap's answer has %d octets, at most %d are read", n, maxReply)
	}
	text := make([]byte, n+1)
	if _, err := io.ReadFull(r, text); err != nil {
		return "", fmt.Errorf("consent: reading the socketmap's answer: %w", err)
	}
	if text[n] != ',' {
		return "", errNetstring
	}
	return string(text[:n]), nil
}

// parseReply reads an answer in the form of Postfix's socketmap_table(5). found
// is false for NOTFOUND. Any answer but "OK in", "OK out" and NOTFOUND is an
// error.
func parseReply(s string) (c policy.Class, found bool, err error) {
	status, data, _ := strings.Cut(s, " ")
	switch status {
	case "OK":
		switch c := policy.Class(strings.ToLower(strings.TrimSpace(data))); c {
		case policy.In, policy.Out:
			return c, true, nil
		}
		return "", false, fmt.Errorf(`consent: the socketmap answers %q; write "OK in" or "OK out"`, printable.Clip(unnamed(s), quotedLen))
	case "NOTFOUND":
		return "", false, nil
	}
	return "", false, fmt.Errorf("consent: the socketmap answers %q", printable.Clip(unnamed(s), quotedLen))
}

// unnamed hides the recipient, whom servers like to repeat. The answer is
// logged, and log.privacy holds for it too.
func unnamed(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if strings.Contains(w, "@") {
			words[i] = "***"
		}
	}
	return strings.Join(words, " ")
}
