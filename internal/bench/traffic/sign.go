package traffic

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"sekimori/internal/milter/client"
)

// signedFields are the fields that every signature covers.
var signedFields = []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"}

// sign returns a DKIM-Signature field (RFC 6376, relaxed/relaxed) for a message with the given
// header and body hash. No field name may occur twice in the header. The signature has no t=, so it
// depends only on the arguments.
func sign(header []client.Field, bodyHash [32]byte, domain string, k key) (client.Field, error) {
	algorithm := "rsa-sha256"
	if _, ok := k.signer.(ed25519.PrivateKey); ok {
		algorithm = "ed25519-sha256"
	}
	var names []string
	h := sha256.New()
	for _, name := range signedFields {
		for _, f := range header {
			if f.Name == name {
				names = append(names, strings.ToLower(name))
				h.Write([]byte(relaxed(f) + "\r\n"))
			}
		}
	}
	field := client.Field{Name: "DKIM-Signature", Value: fmt.Sprintf(
		" v=1; a=%s; c=relaxed/relaxed; d=%s; s=%s;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=",
		algorithm, domain, k.selector, strings.Join(names, ":"), base64.StdEncoding.EncodeToString(bodyHash[:]))}
	h.Write([]byte(relaxed(field)))
	digest, opts := h.Sum(nil), crypto.SignerOpts(crypto.SHA256)
	if algorithm == "ed25519-sha256" {
		opts = crypto.Hash(0) // RFC 8463 §3: Ed25519 signs the hash value as its message
	}
	signature, err := k.signer.Sign(nil, digest, opts)
	if err != nil {
		return client.Field{}, fmt.Errorf("traffic: sign for %s: %w", domain, err)
	}
	b := base64.StdEncoding.EncodeToString(signature)
	for len(b) > 72 {
		field.Value += b[:72] + "\r\n\t "
		b = b[72:]
	}
	field.Value += b
	return field, nil
}

// relaxed returns a field in relaxed canonical form (RFC 6376 §3.4.2) without the CRLF at its end.
func relaxed(f client.Field) string {
	return strings.ToLower(f.Name) + ":" + strings.Join(strings.Fields(f.Value), " ")
}
