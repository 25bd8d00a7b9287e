package mark

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sekimori/internal/printable"
)

// chain returns the certificates from the first of the file to a mark root. If they are not valid at the
// time, the chain is returned nevertheless: valid tells that.
func (r *Rules) chain(file []*x509.Certificate, now time.Time) ([]*x509.Certificate, error) {
	leaf := *file[0]
	// Verify stops at critical extensions that it does not know. Rules.pilot looks at this one. It is not
	// an error here in either case, so that a person sees the result of all checks.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), oidPilot.Equal)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range r.Roots {
		roots.AddCert(c)
	}
	for _, c := range file[1:] {
		between.AddCert(c)
	}
	// x509 does not know the key usage of marks: extendedKeyUsage looks at it.
	options := x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	chains, err := leaf.Verify(options)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		options.CurrentTime = inside(file)
		chains, err = leaf.Verify(options)
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate does not lead to a mark root (%s): put the CA's certificate behind it in the file", printable.Marked(err.Error(), maxText))
	}
	for _, chain := range chains {
		if len(chain) <= maxPath && len(chain) > 2 {
			return chain, nil
		}
	}
	return nil, fmt.Errorf("the chain to a mark root must have three or %d certificates, and has %d", maxPath, len(chains[0]))
}

// inside returns a time when all certificates are valid, if there is one.
func inside(file []*x509.Certificate) time.Time {
	latest := file[0].NotBefore
	for _, c := range file[1:] {
		if c.NotBefore.After(latest) {
			latest = c.NotBefore
		}
	}
	return latest
}

// valid says which certificate is not valid at the time.
func valid(chain []*x509.Certificate, now time.Time) error {
	for _, c := range chain {
		switch {
		case now.Before(c.NotBefore):
			return fmt.Errorf("the certificate of %s is not valid before %s", nameOf(c), day(c.NotBefore))
		case now.After(c.NotAfter):
			return fmt.Errorf("the certificate of %s has ended on %s: get a new one", nameOf(c), day(c.NotAfter))
		}
	}
	return nil
}

func earliestEnd(chain []*x509.Certificate) time.Time {
	end := chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// extendedKeyUsage says which certificate of a chain is not for marks. The mark certificate may be for
// nothing else, and the CA that issued it must be for marks. A CA above it may leave its usage open.
// Roots have none.
func extendedKeyUsage(chain []*x509.Certificate) error {
	leaf := chain[0]
	if len(leaf.ExtKeyUsage) > 0 || len(leaf.UnknownExtKeyUsage) != 1 || !leaf.UnknownExtKeyUsage[0].Equal(oidMarkEKU) {
		return errors.New("the certificate is not for marks only: it must have the extended key usage 1.3.6.1.5.5.7.3.31 and no other")
	}
	for i, ca := range chain[1 : len(chain)-1] {
		none := len(ca.ExtKeyUsage)+len(ca.UnknownExtKeyUsage) == 0
		if (i == 0 || !none) && !slices.ContainsFunc(ca.UnknownExtKeyUsage, oidMarkEKU.Equal) {
			return fmt.Errorf("the CA %s may not issue mark certificates: it has no extended key usage 1.3.6.1.5.5.7.3.31", nameOf(ca))
		}
	}
	return nil
}

// describeChain names the CAs of a chain.
func describeChain(chain []*x509.Certificate) string {
	var names []string
	for i, c := range chain {
		if i > 0 {
			names = append(names, nameOf(c))
		}
	}
	return strings.Join(names, " < ")
}

func isNameConstraints(e extension) bool { return e.Id.Equal(oidNameConstraints) }

// find returns an extension of a certificate.
func find(c *x509.Certificate, id asn1.ObjectIdentifier) (extension, bool) {
	i := slices.IndexFunc(c.Extensions, func(e extension) bool { return e.Id.Equal(id) })
	if i < 0 {
		return extension{}, false
	}
	return c.Extensions[i], true
}
