package dispatch

import (
	"crypto"
	"io"

	"sekimori/internal/dns"
	"sekimori/internal/report/sign"
)

// Signer returns a function for Options.Sign that signs mail with a key of this domain.
func Signer(domain dns.Name, selector string, key crypto.Signer) func(mail func(io.Writer) error) (string, error) {
	return func(mail func(io.Writer) error) (string, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(mail(w)) }()
		field, err := sign.Signature(domain, selector, key, r)
		r.CloseWithError(io.ErrClosedPipe) // ends the goroutine if the message was not read to its end
		return field, err
	}
}
