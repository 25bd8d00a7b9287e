// Package markca is a CA for mark certificates in tests: a root, an issuing CA, certificates with a picture
// and the timestamp of a log, and revocation lists. Each part can be made wrong. For tests only.
package markca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// The object identifiers of mark certificates.
var (
	OIDEKU           = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 31}
	OIDLogotype      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 12}
	OIDMarkType      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53087, 1, 13}
	OIDPilot         = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53087, 4, 1}
	OIDSCTs          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidGeneralPolicy = []uint64{1, 3, 6, 1, 4, 1, 53087, 1, 1}
)

// SVG is a small picture in the profile.
const SVG = `<svg xmlns="http://www.w3.org/2000/svg" version="1.2" baseProfile="tiny-ps" viewBox="0 0 10 10">` +
	`<title>Shop</title><rect width="10" height="10" fill="#c00"/></svg>`

// The places where certificates say that the revocation lists are, unless a test says otherwise.
const (
	IssuerCRL = "http://crl.markca.example/issuer.crl" // has the mark certificates
	RootCRL   = "http://crl.markca.example/root.crl"   // has the issuing CA
)

// CA is a mark root and a CA that it certified, which issues mark certificates.
type CA struct {
	Root, Issuer *x509.Certificate
	Log          *Log
	Now          time.Time // when everything is valid

	rootKey, issuerKey *ecdsa.PrivateKey
	serial             int64
}

// New makes a CA whose certificates are valid at a time. The changes are made to the template of the
// issuing CA before the root signs it.
func New(tb testing.TB, now time.Time, changes ...func(issuer *x509.Certificate)) *CA {
	tb.Helper()
	ca := &CA{Now: now, Log: NewLog(tb, "test log"), rootKey: newKey(tb), issuerKey: newKey(tb), serial: 100}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Mark Root", Organization: []string{"Test Root"}},
		NotBefore: now.AddDate(-5, 0, 0), NotAfter: now.AddDate(15, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	ca.Root = ca.sign(tb, root, root, ca.rootKey, ca.rootKey)
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Test Mark CA", Organization: []string{"Test CA"}},
		NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(8, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{OIDEKU}, CRLDistributionPoints: []string{RootCRL},
	}
	for _, change := range changes {
		change(issuer)
	}
	ca.Issuer = ca.sign(tb, issuer, ca.Root, ca.issuerKey, ca.rootKey)
	return ca
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func (ca *CA) sign(tb testing.TB, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// PEM writes certificates as a file, in their order.
func PEM(certificates ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// File returns the file that a domain publishes: the certificate, the issuing CA and the root.
func (ca *CA) File(leaf *x509.Certificate) []byte { return PEM(leaf, ca.Issuer, ca.Root) }

// Issue issues a certificate for a domain and returns the file that the domain publishes. All of it is
// good unless a change makes it wrong.
func (ca *CA) Issue(tb testing.TB, domain string, changes ...func(*Leaf)) []byte {
	tb.Helper()
	return ca.File(ca.Certificate(tb, domain, changes...))
}

// Certificate is Issue, for the certificate alone.
func (ca *CA) Certificate(tb testing.TB, domain string, changes ...func(*Leaf)) *x509.Certificate {
	tb.Helper()
	leaf := ca.newLeaf(domain)
	for _, change := range changes {
		change(leaf)
	}
	return ca.issue(tb, leaf)
}

// List is what a revocation list says. The zero value is that of a good and empty list.
type List struct {
	Revoked    []*big.Int                 // serial numbers
	Entries    []x509.RevocationListEntry // in place of Revoked
	ThisUpdate time.Time                  // zero: an hour before CA.Now
	NextUpdate time.Time                  // zero: a week after CA.Now
	Extensions []pkix.Extension
	Forged     bool // signed with another key
}

// CRL returns the issuing CA's revocation list, in DER.
func (ca *CA) CRL(tb testing.TB, l List) []byte { return ca.list(tb, l, ca.Issuer, ca.issuerKey) }

// RootCRL returns the root's revocation list, in DER.
func (ca *CA) RootCRL(tb testing.TB, l List) []byte { return ca.list(tb, l, ca.Root, ca.rootKey) }

func (ca *CA) list(tb testing.TB, l List, by *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	tb.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: l.ThisUpdate, NextUpdate: l.NextUpdate, ExtraExtensions: l.Extensions,
		RevokedCertificateEntries: l.Entries}
	if template.ThisUpdate.IsZero() {
		template.ThisUpdate = ca.Now.Add(-time.Hour)
	}
	if template.NextUpdate.IsZero() {
		template.NextUpdate = ca.Now.AddDate(0, 0, 7)
	}
	for _, n := range l.Revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: n, RevocationTime: template.ThisUpdate})
	}
	issuer := *by
	issuer.KeyUsage |= x509.KeyUsageCRLSign // also of a CA that may not, so that the list can be made
	if issuer.SubjectKeyId == nil {
		issuer.SubjectKeyId = []byte{1}
	}
	if l.Forged {
		key = newKey(tb)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, &issuer, key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// Certify returns a certificate of this CA's root, or of its issuing CA, for the root of another CA. With
// it, the chains of the other CA are longer by one or two.
func (ca *CA) Certify(tb testing.TB, other *CA, byIssuer bool, changes ...func(*x509.Certificate)) *x509.Certificate {
	tb.Helper()
	by, key := ca.Root, ca.rootKey
	if byIssuer {
		by, key = ca.Issuer, ca.issuerKey
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: other.Root.Subject, NotBefore: ca.Issuer.NotBefore, NotAfter: ca.Issuer.NotAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, CRLDistributionPoints: []string{RootCRL},
	}
	for _, change := range changes {
		change(template)
	}
	return ca.sign(tb, template, by, other.rootKey, key)
}

// WithKey returns the certificate of a CA with an RSA key of some bits, which nobody has the private key of.
func (ca *CA) WithKey(tb testing.TB, bits int) *x509.Certificate {
	tb.Helper()
	n := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4), Subject: pkix.Name{CommonName: "Large CA"}, NotBefore: ca.Issuer.NotBefore, NotAfter: ca.Issuer.NotAfter,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Root, &rsa.PublicKey{N: n, E: 65537}, ca.rootKey)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
