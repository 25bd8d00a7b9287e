package mark

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
)

type extension = pkix.Extension

// maxRoots bounds the roots of a file, which each certificate is compared with. Four are in the program.
const maxRoots = 100

// files has the mark roots, one in each file: those of DigiCert, GlobalSign and SSL.com. Entrust's is not
// among them: it issues no more, and what it issued has ended.
//
//go:embed roots/*.pem
var files embed.FS

// BuiltinRoots returns the mark roots that the program has.
func BuiltinRoots() []*x509.Certificate {
	var roots []*x509.Certificate
	list, _ := files.ReadDir("roots") // a test reads all of them
	for _, f := range list {
		text, _ := files.ReadFile("roots/" + f.Name())
		some, _ := ParseRoots(text)
		roots = append(roots, some...)
	}
	return roots
}

// ParseRoots reads the mark roots of an operator from PEM. Text between the certificates is passed over.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("mark: the file of roots holds a block %q: leave only certificates in it", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return nil, fmt.Errorf("mark: root %d: %w", len(roots)+1, err)
		case !c.IsCA:
			return nil, fmt.Errorf("mark: root %d (%s) is not the certificate of a CA", len(roots)+1, nameOf(c))
		case len(roots) == maxRoots:
			return nil, fmt.Errorf("mark: the file has more than %d roots", maxRoots)
		}
		roots = append(roots, c)
	}
	if len(roots) == 0 {
		return nil, errors.New("mark: there is no certificate in the file of roots: it must be PEM")
	}
	return roots, nil
}
