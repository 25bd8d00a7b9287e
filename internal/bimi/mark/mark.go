// Package mark judges mark certificates (draft-fetch-validation-vmc-wchuang, and the Minimum Security
// Requirements for Issuance of Mark Certificates). A mark certificate says that a domain may show a
// picture, and holds the picture. The package fetches nothing and asks no clock.
//
// A caller calls [Rules.Judge] without revocation lists first, fetches the lists of [Judgement.CRLs], and
// calls it again.
package mark

import (
	"crypto/x509"
	"time"

	"sekimori/internal/bimi"
	"sekimori/internal/dns"
)

// MaxPEM is the size of the largest file with a certificate, in octets. Real ones have 6 to 18 KB.
const MaxPEM = 64 << 10

// Rules is what mark certificates are judged by.
type Rules struct {
	Roots []*x509.Certificate // the mark roots; never those of the system. See [BuiltinRoots]
	Types []string            // the mark types that are accepted; all of [Types] if it is empty
	Pilot bool                // whether certificates with the pilot extension are accepted
	Logs  []Log               // the CT logs whose signatures are checked. See [BuiltinLogs]
}

// Evidence is the certificate that a record names, and for whom it must speak.
type Evidence struct {
	PEM []byte // the file as it was fetched
	// Domain is where the record was found, Selector its first label. The certificate must be for Domain
	// or <Selector>._bimi.<Domain>.
	Domain   dns.Name
	Selector string
	CRLs     map[string]*CRL // what was fetched of Judgement.CRLs, by URL
}

// Need is a certificate whose revocation list is needed.
type Need struct {
	Subject string   // its common name, or another name; safe to print
	URLs    []string // http or https; one of the lists is enough
	Fetched bool     // a list that serves was in Evidence.CRLs

	certificate, issuer *x509.Certificate
}

// Serves says why a list cannot be used for the certificate, such as that the CA did not sign it. Then
// another of the URLs may have a list that can.
func (n *Need) Serves(list *CRL, now time.Time) error {
	return list.serves(n.certificate, n.issuer, now)
}

// Judgement is what a certificate is worth.
type Judgement struct {
	Result    bimi.Result    // Pass, Fail or TempError
	Authority bimi.Authority // pass, fail, or none with TempError
	Reason    string         // "" with Pass, otherwise one of [Words]
	Checks    []bimi.Check   // in order; what could not be looked at is left out
	// Certificate has the facts of the first certificate, or is nil if there is none. It is also set if
	// the result is Fail: only with Pass it may be believed.
	Certificate *Certificate
	SVG         []byte // the picture, uncompressed and checked; nil unless Result is Pass or TempError
	CRLs        []Need // nil if the chain does not hold
	// Until is when a Pass ends: a certificate of the chain ends then, or a list is a day overdue.
	Until time.Time
}

// Mark returns the mark of a judgement whose result is Pass, or nil. Same is not set.
func (j *Judgement) Mark() *bimi.Mark {
	if j.Result != bimi.Pass {
		return nil
	}
	c := j.Certificate
	return &bimi.Mark{SVG: j.SVG, Certified: true, Type: c.Type, Owner: c.Owner, Issuer: c.Issuer, Serial: c.Serial, NotAfter: c.Ends}
}

// The words of the checks, in the order of the checks. A word is also the reason of a judgement if it is
// the first check that failed.
const (
	wordPEM      = "pem"      // the file holds 1 to 6 certificates, the first of a domain and the others of CAs
	wordPilot    = "pilot"    // the certificate is not of a pilot, or these are accepted
	wordChain    = "chain"    // it is signed by a mark root, over at most two other CAs
	wordValidity = "validity" // all certificates of the chain are valid now
	wordEKU      = "eku"      // it and the CA that issued it are for marks, and it is for nothing else
	wordLeaf     = "leaf"     // it is not a CA, and not valid for too long
	wordPolicy   = "policy"   // it was issued under the requirements for mark certificates
	wordSAN      = "san"      // it is for the domain of the record
	wordType     = "type"     // its mark type is accepted
	wordSCT      = "sct"      // it was logged
	wordCRL      = "crl"      // the revocation lists are there and fresh
	wordRevoked  = "revoked"  // no certificate of the chain is revoked
	wordLogotype = "logotype" // it holds one picture
	wordHash     = "hash"     // the picture is the one that was certified
	wordPicture  = "picture"  // the picture may be shown
)

// Words returns all words that a check or a reason may have.
func Words() []string {
	return []string{wordPEM, wordPilot, wordChain, wordValidity, wordEKU, wordLeaf, wordPolicy, wordSAN, wordType, wordSCT, wordCRL,
		wordRevoked, wordLogotype, wordHash, wordPicture}
}

// Judge says whether the certificate vouches for the domain's picture at a time.
func (r *Rules) Judge(e Evidence, now time.Time) Judgement {
	var j Judgement
	file, err := readPEM(e.PEM)
	j.add(wordPEM, err, "%d certificates", len(file))
	if err != nil {
		return j.decided()
	}
	leaf := file[0]
	j.Certificate = facts(leaf)
	j.add(wordPilot, r.pilot(leaf), "%s", pilotDetail(j.Certificate.Pilot))

	chain, err := r.chain(file, now)
	j.add(wordChain, err, "%s", describeChain(chain))
	if chain != nil {
		j.Certificate.Root, j.Certificate.Ends = nameOf(chain[len(chain)-1]), earliestEnd(chain)
		j.add(wordValidity, valid(chain, now), "until %s", day(j.Certificate.Ends))
		j.add(wordEKU, extendedKeyUsage(chain), "for marks only")
	} else {
		j.add(wordValidity, valid(file[:1], now), "until %s", day(leaf.NotAfter))
	}
	j.add(wordLeaf, endEntity(leaf), "%d days", lifetimeDays(leaf))
	j.add(wordPolicy, policy(leaf), "%s", policyOID)
	j.add(wordSAN, covers(leaf, e.Domain, e.Selector), "%s", e.Domain)
	j.add(wordType, r.accepts(j.Certificate.Type), "%s", j.Certificate.Type)
	if chain != nil {
		detail, err := r.logged(leaf, chain[1], now)
		j.add(wordSCT, err, "%s", detail)
		j.revocation(chain, e.CRLs, now)
	}
	j.picture(leaf)
	if j.Until.IsZero() || j.Certificate.Ends.Before(j.Until) {
		j.Until = j.Certificate.Ends
	}
	return j.decided()
}

// picture looks at the picture that the certificate holds.
func (j *Judgement) picture(leaf *x509.Certificate) {
	logo, err := logotypeOf(leaf)
	j.add(wordLogotype, err, "%d octets", len(logo.picture))
	if err != nil {
		return
	}
	plain, names, err := logo.certified()
	j.Certificate.Hashes = names
	j.add(wordHash, err, "%s", listed(names))
	if err != nil {
		return
	}
	j.SVG = j.drawable(plain)
}
