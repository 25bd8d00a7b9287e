// Package sign signs the mail with reports by DKIM, if the MTA does not (report.mail.dkim). The work is
// done by go-msgauth. This package chooses what is signed and reads the key.
package sign

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-msgauth/dkim"

	"sekimori/internal/dns"
)

// signed lists the fields in h=. A field is listed once more than a report mail has it, so that nobody
// can add another one without breaking the signature (RFC 6376 §8.15).
var signed = []string{
	"From", "From", "To", "To", "Subject", "Subject", "Date", "Date", "Message-ID", "Message-ID", "Auto-Submitted", "Auto-Submitted",
	"MIME-Version", "MIME-Version", "Content-Type", "Content-Type", "Content-Transfer-Encoding", "Cc", "Reply-To", "Sender", "In-Reply-To", "References",
}

// Signature reads a message, whose lines end with CR LF, and returns the field DKIM-Signature for it,
// with its CR LF. It keeps only the header in memory. Canonicalization is relaxed for header and body,
// and the key is RSA or Ed25519.
func Signature(domain dns.Name, selector string, key crypto.Signer, message io.Reader) (string, error) {
	s, err := dkim.NewSigner(&dkim.SignOptions{Domain: string(domain), Selector: selector, Signer: key, HeaderKeys: signed,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed})
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	_, err = io.Copy(s, message)
	if end := s.Close(); err == nil { // Close also ends the goroutine of the signer
		err = end
	}
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	return s.Signature(), nil
}

// minRSABits is the least size of a key that signs (RFC 8301 §3.2).
const minRSABits = 1024

// ErrKey means that a text is not a private key for DKIM.
var ErrKey = errors.New("sign: not an RSA or Ed25519 private key in PEM (PKCS #8, or PKCS #1 for RSA)")

// ParseKey reads the text of a key file: one PEM block with an RSA or Ed25519 private key that is not
// encrypted. The error never has a part of the text.
func ParseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, ErrKey
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, ErrKey
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("sign: the RSA key has %d bits, and verifiers want at least %d (RFC 8301); 2048 are usual", k.N.BitLen(), minRSABits)
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, ErrKey
}

// KeyRecord returns the TXT record that belongs at selector._domainkey.domain, for the public half of a key
// that ParseKey returned. A string of a TXT record has at most 255 octets, and this may be longer.
func KeyRecord(public crypto.PublicKey) (string, error) {
	switch pub := public.(type) {
	case *rsa.PublicKey:
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return "", fmt.Errorf("sign: %w", err)
		}
		return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), nil
	case ed25519.PublicKey:
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub), nil // RFC 8463 §4
	}
	return "", ErrKey
}
