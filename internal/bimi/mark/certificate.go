package mark

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
	"sekimori/internal/printable"
)

const (
	maxCertificates = 6    // of a file: a mark certificate, and the CAs up to the root with some to spare
	maxPath         = 4    // certificates of a chain, with the root
	maxKeyBits      = 8192 // of an RSA key; a larger one takes long to verify with, and a stranger could choose it
	maxLifetimeDays = 825  // of a mark certificate, by the requirements for issuance
	maxNames        = 20   // names that the facts of a certificate tell
	maxText         = 200  // octets of a text of the subject
)

var (
	oidMarkEKU         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 31}
	oidPilot           = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53087, 4, 1}
	oidPolicy          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53087, 1, 1}
	oidMarkType        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53087, 1, 13}
	oidTrademarkID     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 53087, 1, 4}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
)

// policyOID is the general policy of mark certificates.
const policyOID = "1.3.6.1.4.1.53087.1.1"

// Types returns the mark types that are known.
func Types() []string {
	var types []string
	for _, t := range bimi.MarkTypes() {
		types = append(types, string(t))
	}
	return types
}

// Certificate has the facts of a mark certificate. All texts are safe to print.
type Certificate struct {
	Names     []string  `json:"names"` // the domains it is for, as it has them; at most 20
	Type      string    `json:"type"`
	Owner     string    `json:"owner"`  // the organization of the subject
	Issuer    string    `json:"issuer"` // the organization of the issuer
	Root      string    `json:"root,omitempty"`
	Serial    string    `json:"serial"` // hexadecimal
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Ends      time.Time `json:"ends,omitzero"` // when the first certificate of the chain ends
	Pilot     bool      `json:"pilot,omitempty"`
	Hashes    []string  `json:"hashes,omitempty"` // the algorithms that the picture was hashed with
}

// readPEM reads the certificates of a file. The first must be of a domain, the others of CAs: if two were
// of domains, two programs could judge different ones.
func readPEM(text []byte) ([]*x509.Certificate, error) {
	if len(text) > MaxPEM {
		return nil, fmt.Errorf("the file has %d octets, and may have %d: leave only the certificates in it", len(text), MaxPEM)
	}
	var file []*x509.Certificate
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the file holds a block %q: leave only certificates in it", printable.Marked(block.Type, 40))
		}
		if len(file) == maxCertificates {
			return nil, fmt.Errorf("the file has more than %d certificates: leave only those of the chain in it", maxCertificates)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read (%s): get it from the CA again", len(file)+1, printable.Marked(err.Error(), maxText))
		}
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxKeyBits {
			return nil, fmt.Errorf("the key of certificate %d has %d bits, and may have %d", len(file)+1, key.N.BitLen(), maxKeyBits)
		}
		if len(file) > 0 && !c.IsCA {
			return nil, fmt.Errorf("certificate %d is not of a CA: the mark certificate must be the first, and the only one of a domain", len(file)+1)
		}
		file = append(file, c)
	}
	if len(file) == 0 {
		return nil, errors.New("there is no certificate in the file: it must be PEM, with the mark certificate first")
	}
	return file, nil
}

// Names returns the domains that the first certificate of a file is for, without judging it.
func Names(text []byte) ([]string, error) {
	file, err := readPEM(text)
	if err != nil {
		return nil, fmt.Errorf("mark: %w", err)
	}
	return facts(file[0]).Names, nil
}

func facts(c *x509.Certificate) *Certificate {
	f := &Certificate{Type: markType(c), Owner: first(c.Subject.Organization), Issuer: first(c.Issuer.Organization),
		Serial: fmt.Sprintf("%x", c.SerialNumber), NotBefore: c.NotBefore, NotAfter: c.NotAfter, Pilot: isPilot(c)}
	for _, name := range c.DNSNames[:min(len(c.DNSNames), maxNames)] {
		f.Names = append(f.Names, printable.Marked(name, dns.MaxNameLen))
	}
	return f
}

// first returns the first text, safe to print.
func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return printable.MarkedUTF8(texts[0], maxText)
}

// markType returns the mark type of the subject. If there are several, none counts. The first certificates
// had no type, but the number of the trademark: they were all for registered marks.
func markType(c *x509.Certificate) string {
	found, numbered := "", false
	for _, name := range c.Subject.Names {
		value, _ := name.Value.(string)
		switch {
		case name.Type.Equal(oidMarkType) && found != "":
			return ""
		case name.Type.Equal(oidMarkType):
			found = printable.MarkedUTF8(value, maxText)
		case name.Type.Equal(oidTrademarkID):
			numbered = true
		}
	}
	if found == "" && numbered {
		return string(bimi.RegisteredMark)
	}
	return found
}

// accepts says why a mark type is not accepted.
func (r *Rules) accepts(markType string) error {
	accepted := r.Types
	if len(accepted) == 0 {
		accepted = Types()
	}
	switch {
	case slices.ContainsFunc(accepted, func(a string) bool { return strings.EqualFold(a, markType) }):
		return nil
	case markType == "":
		return errors.New("the certificate has no mark type, or several: ask the CA for another")
	}
	return fmt.Errorf("the mark type is %q, and this receiver accepts: %s", markType, listed(accepted))
}

func isPilot(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidPilot) {
			return true
		}
	}
	return false
}

func (r *Rules) pilot(leaf *x509.Certificate) error {
	if isPilot(leaf) && !r.Pilot {
		return errors.New("the certificate has the critical extension of a pilot, which this receiver does not accept: ask the CA for one without it")
	}
	return nil
}

func pilotDetail(pilot bool) string {
	if pilot {
		return "a pilot certificate, which is accepted here"
	}
	return "not a pilot certificate"
}

// endEntity says why a certificate is not that of a domain. Many mark certificates have no key usage.
func endEntity(leaf *x509.Certificate) error {
	switch {
	case leaf.IsCA:
		return errors.New("the first certificate is that of a CA: put the mark certificate first")
	case leaf.Version != 3:
		return errors.New("the certificate is not of version 3: ask the CA for another")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("the key usage is not digitalSignature: ask the CA for another certificate")
	case leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return errors.New("the key usage is that of a CA: ask the CA for another certificate")
	case slices.ContainsFunc(leaf.Extensions, isNameConstraints):
		return errors.New("the certificate has name constraints, which only a CA may have: ask the CA for another")
	case lifetimeDays(leaf) > maxLifetimeDays:
		return fmt.Errorf("the certificate is valid for %d days, and may be for %d: ask the CA for another", lifetimeDays(leaf), maxLifetimeDays)
	}
	return nil
}

// lifetimeDays returns how long a certificate is valid, in days, rounded up.
func lifetimeDays(c *x509.Certificate) int {
	const oneDay = 24 * time.Hour
	return int((c.NotAfter.Sub(c.NotBefore) + oneDay - time.Nanosecond) / oneDay)
}

func policy(leaf *x509.Certificate) error {
	for _, p := range leaf.PolicyIdentifiers {
		if p.Equal(oidPolicy) {
			return nil
		}
	}
	return fmt.Errorf("the certificate does not name the policy of mark certificates (%s): ask the CA for another", policyOID)
}

// covers says why a certificate is not for the domain. Names are compared whole: a certificate of a
// subdomain does not speak for its parent, nor the other way.
func covers(leaf *x509.Certificate, domain dns.Name, selector string) error {
	of, _ := domain.Prepend(selector + "._bimi") // "" without a selector
	for _, san := range leaf.DNSNames {
		name, _ := dns.ParseName(san) // "" if it is not a name
		if name != "" && (name == domain || name == of) {
			return nil
		}
	}
	return fmt.Errorf("the certificate is for %s, and not for %s: get one for this domain, or publish the record where the certificate is for",
		listed(facts(leaf).Names), domain)
}

// nameOf names a certificate for a person.
func nameOf(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return printable.MarkedUTF8(c.Subject.CommonName, maxText)
	}
	return first(c.Subject.Organization)
}
