// Package signer signs messages with DKIM and seals them with ARC. It implements RFC 6376 and RFC
// 8617 in the simplest way and does not use the code that is being tested. So a mistake in that
// code is not repeated here. It also signs things that a correct signer would refuse to sign. For
// tests only.
package signer

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/message"
)

// Split splits a message with CRLF line ends into the fields and the body that a milter would get.
// It does not correct malformed lines: a line without a colon becomes a field without a value.
func Split(eml []byte) (message.Header, []byte) {
	head, body, _ := bytes.Cut(eml, []byte("\r\n\r\n"))
	if bytes.HasPrefix(eml, []byte("\r\n")) {
		head, body = nil, eml[2:]
	}
	var h message.Header
	for line := range strings.SplitSeq(string(head), "\r\n") {
		switch {
		case line == "":
		case line[0] == ' ' || line[0] == '\t':
			if len(h) > 0 {
				h[len(h)-1].Value += "\r\n" + line
			}
		default:
			name, value, _ := strings.Cut(line, ":")
			h = append(h, message.Field{Name: name, Value: value})
		}
	}
	return h, body
}

var (
	blanks = regexp.MustCompile(`[ \t]+`)
	fold   = regexp.MustCompile(`\r\n([ \t])`)
)

// Field returns a header field in relaxed canonical form (RFC 6376 §3.4.2), without the CRLF at its
// end.
func Field(name, value string) string {
	value = blanks.ReplaceAllString(fold.ReplaceAllString(value, "$1"), " ")
	return strings.ToLower(strings.TrimRight(name, " \t")) + ":" + strings.Trim(value, " ")
}

// Body returns a body in relaxed canonical form (RFC 6376 §3.4.4).
func Body(body string) string {
	lines := strings.Split(body, "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(blanks.ReplaceAllString(l, " "), " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// BodyHash returns the value of bh= for a body that is already in canonical form.
func BodyHash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Selected returns the fields named in h=, in relaxed canonical form. If a name occurs several
// times, the lowest field with that name is taken first (RFC 6376 §5.4.2).
func Selected(h message.Header, names string) string {
	var b strings.Builder
	used := map[string]int{}
	for name := range strings.SplitSeq(names, ":") {
		name = strings.ToLower(strings.TrimSpace(name))
		skip := used[name]
		for i := len(h) - 1; i >= 0; i-- {
			if !strings.EqualFold(strings.TrimRight(h[i].Name, " \t"), name) {
				continue
			}
			if skip == 0 {
				b.WriteString(Field(name, h[i].Value) + "\r\n")
				used[name]++
				break
			}
			skip--
		}
	}
	return b.String()
}

// Sign signs input with the key and returns the value for b=.
func Sign(tb testing.TB, key crypto.Signer, input string) string {
	tb.Helper()
	hashed := sha256.Sum256([]byte(input))
	opts := crypto.SignerOpts(crypto.SHA256)
	if _, ok := key.(ed25519.PrivateKey); ok {
		opts = crypto.Hash(0) // RFC 8463 §3: Ed25519 signs the hash value as its message
	}
	sig, err := key.Sign(rand.Reader, hashed[:], opts)
	if err != nil {
		tb.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// Record returns the DKIM key record for an Ed25519 or RSA key. It panics for other types of keys.
func Record(pub crypto.PublicKey) string {
	if p, ok := pub.(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(p)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		panic(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}
