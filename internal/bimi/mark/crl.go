package mark

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"
)

const (
	// MaxCRL is the size of the largest revocation list, in octets.
	MaxCRL = 10 << 20
	// maxRevoked is the number of entries of a list. All mark certificates that were ever issued are
	// fewer. It bounds the memory that parsing takes: about 200 octets an entry.
	maxRevoked  = 50_000
	maxCRLURLs  = 4    // of a certificate
	maxCRLURL   = 2048 // octets
	overdue     = 24 * time.Hour
	maxIDPNames = 20 // of a list's distribution point
)

var (
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDeltaCRL                 = asn1.ObjectIdentifier{2, 5, 29, 27}
)

// CRL is a revocation list (RFC 5280 §5). It does not change once it is made.
type CRL struct {
	list    *x509.RevocationList // without its entries
	revoked map[string]bool      // serial numbers, as the octets of their absolute value
	point   distributionPoint
}

// distributionPoint is what the extension of that name says about a list (RFC 5280 §5.2.5).
type distributionPoint struct {
	urls     []string
	userOnly bool // the list has only certificates that are not of CAs
	caOnly   bool
}

// ParseCRL reads a revocation list in DER. It does not check who signed it: Judge does.
func ParseCRL(der []byte) (*CRL, error) {
	if len(der) > MaxCRL {
		return nil, fmt.Errorf("mark: the revocation list has %d octets, and may have %d", len(der), MaxCRL)
	}
	if err := bounded(der); err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("mark: the revocation list cannot be read: %w", err)
	}
	c := &CRL{list: list, revoked: make(map[string]bool, len(list.RevokedCertificateEntries))}
	for _, e := range list.RevokedCertificateEntries {
		if slices.ContainsFunc(e.Extensions, isCritical) { // such as the issuer, of an indirect list
			return nil, errors.New("mark: the revocation list has an entry with a critical extension")
		}
		c.revoked[serialKey(e.SerialNumber)] = true
	}
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidIssuingDistributionPoint):
			if c.point, err = parsePoint(e.Value); err != nil {
				return nil, err
			}
		case e.Critical || e.Id.Equal(oidDeltaCRL):
			return nil, fmt.Errorf("mark: the revocation list has the extension %s: only whole lists count", e.Id)
		}
	}
	list.RevokedCertificateEntries, list.RevokedCertificates = nil, nil //nolint:staticcheck // both hold the entries
	return c, nil
}

// NextUpdate returns when the next list comes at the latest. From then on the list should be fetched
// again. It serves for another day.
func (c *CRL) NextUpdate() time.Time { return c.list.NextUpdate }

func isCritical(e extension) bool { return e.Critical }

// bounded says whether a list has too many entries, before they are parsed.
func bounded(der []byte) error {
	var outer, tbs asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 {
		return errASN1
	}
	if _, err := asn1.Unmarshal(outer.Bytes, &tbs); err != nil {
		return errASN1
	}
	// version, signature, issuer, thisUpdate, nextUpdate, revokedCertificates, [0] extensions: the entries
	// are in the third sequence.
	sequences := 0
	for rest := tbs.Bytes; len(rest) > 0; {
		var v asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &v); err != nil {
			return errASN1
		}
		if !is(v, asn1.ClassUniversal, asn1.TagSequence, true) {
			continue
		}
		if sequences++; sequences < 3 {
			continue
		}
		entries := v.Bytes
		for n := 0; len(entries) > 0; n++ {
			var entry asn1.RawValue
			if entries, err = asn1.Unmarshal(entries, &entry); err != nil {
				return errASN1
			}
			if n == maxRevoked {
				return fmt.Errorf("mark: the revocation list has more than %d entries", maxRevoked)
			}
		}
		return nil
	}
	return nil
}

// parsePoint reads the extension issuingDistributionPoint. A list of some reasons only, an indirect one,
// and one of attribute certificates say nothing about a mark certificate.
func parsePoint(der []byte) (distributionPoint, error) {
	p := distributionPoint{}
	bad := errors.New("mark: the revocation list is only for some certificates or reasons, or that part of it cannot be read")
	fields, err := elements(der, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil {
		return p, bad
	}
	for _, f := range fields {
		set := len(f.Bytes) == 1 && f.Bytes[0] != 0
		switch {
		case is(f, asn1.ClassContextSpecific, 0, true):
			if p.urls, err = parsePointNames(f.Bytes); err != nil {
				return p, bad
			}
		case is(f, asn1.ClassContextSpecific, 1, false):
			p.userOnly = set
		case is(f, asn1.ClassContextSpecific, 2, false):
			p.caOnly = set
		case is(f, asn1.ClassContextSpecific, 4, false) && !set, is(f, asn1.ClassContextSpecific, 5, false) && !set:
		default:
			return p, bad
		}
	}
	return p, nil
}

// parsePointNames returns the URIs of a DistributionPointName, which must have the form fullName.
func parsePointNames(b []byte) ([]string, error) {
	full, err := split(b)
	if err != nil || len(full) != 1 || !is(full[0], asn1.ClassContextSpecific, 0, true) {
		return nil, errASN1
	}
	names, err := split(full[0].Bytes)
	if err != nil || len(names) > maxIDPNames {
		return nil, errASN1
	}
	var urls []string
	for _, n := range names {
		if is(n, asn1.ClassContextSpecific, 6, false) { // uniformResourceIdentifier
			urls = append(urls, string(n.Bytes))
		}
	}
	return urls, nil
}

// revocation looks for every certificate of a chain but the root in the list of who issued it.
func (j *Judgement) revocation(chain []*x509.Certificate, lists map[string]*CRL, now time.Time) {
	var missing, revoked error
	for i, c := range chain[:len(chain)-1] {
		need := Need{Subject: nameOf(c), URLs: listURLs(c), certificate: c, issuer: chain[i+1]}
		if len(need.URLs) == 0 && missing == nil {
			missing = fmt.Errorf("the certificate of %s names no revocation list: ask the CA for another", need.Subject)
		}
		var end time.Time // when the freshest list is overdue
		problem := error(undecided{fmt.Errorf("the revocation list for %s is not there yet", need.Subject)})
		for _, u := range need.URLs {
			list := lists[u]
			if list == nil {
				continue
			}
			if err := need.Serves(list, now); err != nil {
				problem = undecided{fmt.Errorf("the revocation list for %s does not count: %w", need.Subject, err)}
				continue
			}
			need.Fetched = true
			if e := list.NextUpdate().Add(overdue); e.After(end) {
				end = e
			}
			if list.revoked[serialKey(c.SerialNumber)] && revoked == nil {
				revoked = fmt.Errorf("the certificate of %s is revoked: get a new one", need.Subject)
			}
		}
		if !need.Fetched && missing == nil {
			missing = problem
		}
		if j.Until.IsZero() || end.Before(j.Until) {
			j.Until = end
		}
		j.CRLs = append(j.CRLs, need)
	}
	j.add(wordCRL, missing, "%d lists", len(j.CRLs))
	if revoked != nil || missing == nil {
		j.add(wordRevoked, revoked, "no certificate of the chain")
	}
}

// serves says why a list says nothing about a certificate.
func (c *CRL) serves(cert, issuer *x509.Certificate, now time.Time) error {
	switch {
	case !bytes.Equal(c.list.RawIssuer, issuer.RawSubject):
		return errors.New("it is of another CA")
	case c.list.CheckSignatureFrom(issuer) != nil:
		return errors.New("it is not signed by the CA")
	case c.list.ThisUpdate.After(now.Add(maxAhead)):
		return errors.New("it is from the future: the CA's clock or ours is wrong")
	case c.list.NextUpdate.IsZero():
		return errors.New("it does not say when the next one comes")
	case now.After(c.list.NextUpdate.Add(overdue)):
		return fmt.Errorf("the next one was due on %s", day(c.list.NextUpdate))
	case c.point.userOnly && cert.IsCA, c.point.caOnly && !cert.IsCA:
		return errors.New("it is for other certificates of the CA")
	case c.point.urls != nil && !slices.ContainsFunc(cert.CRLDistributionPoints, func(u string) bool { return slices.Contains(c.point.urls, u) }):
		return errors.New("it is for another place than the certificate names")
	}
	return nil
}

// listURLs returns where the revocation list of a certificate is.
func listURLs(c *x509.Certificate) []string {
	var urls []string
	for _, s := range c.CRLDistributionPoints {
		u, err := url.Parse(s)
		if err == nil && len(s) <= maxCRLURL && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(urls) < maxCRLURLs {
			urls = append(urls, s)
		}
	}
	return urls
}

// serialKey returns the key of a serial number in CRL.revoked. No certificate has a negative one: package
// x509 refuses them.
func serialKey(n *big.Int) string { return string(n.Bytes()) }
