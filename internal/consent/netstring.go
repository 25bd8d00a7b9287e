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

// maxReply is the length of the longest answer of a socketmap that is read, in
// octets. A real answer is much shorter: a word, or the reason of a failure.
const maxReply = 4096

// maxReplyDigits is the largest number of digits in the length of a netstring.
const maxReplyDigits = 4

var errNetstring = errors.New("consent: the socketmap's answer is not a netstring")

// appendNetstring appends s to b as a netstring: the length in decimal, a
// colon, s and a comma. (D. J. Bernstein defined this format.)
func appendNetstring(b []byte, s string) []byte {
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, ':')
	b = append(b, s...)
	return append(b, ',')
}

// readNetstring reads one netstring and returns its text, which has at most
// maxReply octets.
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

// parseReply parses an answer of a server, in the form that Postfix's
// socketmap_table(5) describes. found is false for the answer NOTFOUND. Every
// answer other than "OK in", "OK out" and NOTFOUND is an error.
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

// unnamed replaces words with an @ by "***", because servers often repeat the
// recipient in an answer. The answer is logged, and must not show the recipient
// there if log.privacy forbids it.
func unnamed(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if strings.Contains(w, "@") {
			words[i] = "***"
		}
	}
	return strings.Join(words, " ")
}
