package markca

import (
	"bytes"
	"compress/gzip"
	"crypto"
	_ "crypto/sha1" // hashes that a Leaf may ask for
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"testing"
	"time"
)

// Leaf is what a mark certificate says.
type Leaf struct {
	*x509.Certificate // the template, for what has no field below

	Type      string      // the mark type; "" leaves it out
	Picture   []byte      // the picture, uncompressed
	Hash      crypto.Hash // the algorithm of the logotype's hash: SHA1, SHA256, SHA384 or SHA512
	Hashed    []byte      // what is hashed; nil: Picture
	Logotype  []byte      // the whole value of the extension; nil: made from Picture
	NoPicture bool        // no logotype extension
	Critical  bool        // the logotype extension is critical
	Pilot     bool        // the critical extension of a pilot
	Logged    []*Log      // the logs that sign a timestamp; CA.Log unless changed
	SCTs      []byte      // the whole value of the extension with the timestamps; nil: made from Logged
	FromRoot  bool        // issued by the root
}

// newLeaf returns what a good certificate says.
func (ca *CA) newLeaf(domain string) *Leaf {
	ca.serial++
	policy, _ := x509.OIDFromInts(oidGeneralPolicy)
	return &Leaf{
		Certificate: &x509.Certificate{
			SerialNumber: big.NewInt(ca.serial), Subject: pkix.Name{CommonName: "Shop KK", Organization: []string{"Shop KK"}, Country: []string{"JP"}},
			NotBefore: ca.Now.AddDate(0, 0, -30), NotAfter: ca.Now.AddDate(0, 0, 330),
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{OIDEKU},
			Policies: []x509.OID{policy}, DNSNames: []string{domain}, CRLDistributionPoints: []string{IssuerCRL},
		},
		Type: "Registered Mark", Picture: []byte(SVG), Hash: crypto.SHA256, Logged: []*Log{ca.Log},
	}
}

// issue signs a certificate. It does so twice: what the logs sign is the certificate without their
// timestamps.
func (ca *CA) issue(tb testing.TB, leaf *Leaf) *x509.Certificate {
	tb.Helper()
	template := *leaf.Certificate
	if leaf.Type != "" {
		template.Subject.ExtraNames = append(template.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: OIDMarkType, Value: leaf.Type})
	}
	if !leaf.NoPicture {
		value := leaf.Logotype
		if value == nil {
			value = LogotypeOf(tb, Image(tb, leaf.Picture, leaf.hashed(), leaf.Hash))
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: OIDLogotype, Critical: leaf.Critical, Value: value})
	}
	if leaf.Pilot {
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: OIDPilot, Critical: true, Value: []byte("\x0c\x04test")})
	}
	parent, by, key := ca.Issuer, ca.issuerKey, newKey(tb)
	if leaf.FromRoot {
		parent, by = ca.Root, ca.rootKey
	}
	if leaf.SCTs == nil && len(leaf.Logged) > 0 {
		before := ca.sign(tb, &template, parent, key, by)
		leaf.SCTs = timestamps(tb, leaf.Logged, before.RawTBSCertificate, parent.RawSubjectPublicKeyInfo, leaf.NotBefore.Add(time.Minute))
	}
	if leaf.SCTs != nil {
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: OIDSCTs, Value: leaf.SCTs})
	}
	return ca.sign(tb, &template, parent, key, by)
}

func (l *Leaf) hashed() []byte {
	if l.Hashed != nil {
		return l.Hashed
	}
	return l.Picture
}

// Gzip compresses octets.
func Gzip(tb testing.TB, octets []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(octets)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// hashIDs are the object identifiers of hash algorithms.
var hashIDs = map[crypto.Hash]asn1.ObjectIdentifier{
	crypto.SHA1: {1, 3, 14, 3, 2, 26}, crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
	crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
}

// Image returns LogotypeImage (RFC 9399 §4.1) with a compressed picture, and hashes over other octets.
func Image(tb testing.TB, picture, hashedOctets []byte, hashes ...crypto.Hash) []byte {
	tb.Helper()
	var list []byte
	for _, h := range hashes {
		sum := h.New()
		sum.Write(hashedOctets)
		list = append(list, Sequence(tb, Sequence(tb, Marshal(tb, hashIDs[h])), Marshal(tb, sum.Sum(nil)))...)
	}
	uri := "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(Gzip(tb, picture))
	return Details(tb, "image/svg+xml", list, uri)
}

// Details returns LogotypeImage with a media type, the content of logotypeHash, and URIs.
func Details(tb testing.TB, mediaType string, hashes []byte, uris ...string) []byte {
	tb.Helper()
	var places []byte
	for _, uri := range uris {
		places = append(places, Value(tb, asn1.ClassUniversal, asn1.TagIA5String, false, []byte(uri))...)
	}
	return Sequence(tb, Sequence(tb, Value(tb, asn1.ClassUniversal, asn1.TagIA5String, false, []byte(mediaType)),
		Sequence(tb, hashes), Sequence(tb, places)))
}

// LogotypeOf returns the value of the logotype extension with the images as the subject's direct logo.
func LogotypeOf(tb testing.TB, images ...[]byte) []byte {
	tb.Helper()
	direct := Value(tb, asn1.ClassContextSpecific, 0, true, Sequence(tb, bytes.Join(images, nil)))
	return Sequence(tb, Value(tb, asn1.ClassContextSpecific, 2, true, direct))
}

// Sequence returns a SEQUENCE of parts that are DER.
func Sequence(tb testing.TB, parts ...[]byte) []byte {
	tb.Helper()
	return Value(tb, asn1.ClassUniversal, asn1.TagSequence, true, bytes.Join(parts, nil))
}

// Value returns one value in DER.
func Value(tb testing.TB, class, tag int, constructed bool, content []byte) []byte {
	tb.Helper()
	return Marshal(tb, asn1.RawValue{Class: class, Tag: tag, IsCompound: constructed, Bytes: content})
}

// Marshal writes a value as DER.
func Marshal(tb testing.TB, v any) []byte {
	tb.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}
