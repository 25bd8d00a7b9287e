package mark

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the hash is within what a CA signed; DigiCert uses SHA-1 there
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"sekimori/internal/bimi/svg"
	"sekimori/internal/printable"
)

var (
	oidLogotype = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 12}
	oidSHA1     = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
)

// maxLogotype is the size of a logotype extension in octets. It is smaller than a file may be, and holds a
// picture of the largest size, uncompressed and in base64.
const maxLogotype = 60 << 10

// logotype is the picture in a certificate (RFC 9399 §4.1).
type logotype struct {
	picture []byte // as it is there: gzip, or plain
	hashes  []hashed
}

// hashed is HashAlgAndValue: a hash over the uncompressed picture.
type hashed struct {
	algorithm asn1.ObjectIdentifier
	value     []byte
}

var errLogotype = errors.New("the logotype extension cannot be read: ask the CA for another certificate")

// logotypeOf returns the picture of a certificate. There must be exactly one.
func logotypeOf(leaf *x509.Certificate) (*logotype, error) {
	e, ok := find(leaf, oidLogotype)
	switch {
	case !ok:
		return &logotype{}, errors.New("the certificate has no logotype extension, so no picture: get a mark certificate")
	case e.Critical:
		return &logotype{}, errors.New("the logotype extension is critical: ask the CA for another certificate")
	}
	logo, err := parseLogotype(e.Value)
	if err != nil {
		return &logotype{}, err
	}
	return logo, nil
}

// parseLogotype reads the value of the extension. It descends a fixed path: subjectLogo, direct, image.
func parseLogotype(der []byte) (*logotype, error) {
	if len(der) > maxLogotype {
		return nil, fmt.Errorf("the logotype extension has %d octets, and may have %d", len(der), maxLogotype)
	}
	logos, err := elements(der, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil {
		return nil, errLogotype
	}
	// LogotypeExtn has [0] communityLogos, [1] issuerLogo, [2] subjectLogo, [3] otherLogos.
	i := slices.IndexFunc(logos, func(v asn1.RawValue) bool { return is(v, asn1.ClassContextSpecific, 2, true) })
	if i < 0 {
		return nil, errors.New("the logotype extension has no logo of the subject: ask the CA for another certificate")
	}
	info, err := split(logos[i].Bytes)
	if err != nil || len(info) != 1 || !is(info[0], asn1.ClassContextSpecific, 0, true) { // direct
		return nil, errLogotype
	}
	data, err := split(info[0].Bytes) // LogotypeData: image, and audio as [1]
	if err != nil || len(data) != 1 {
		return nil, errLogotype
	}
	images, err := elements(data[0].FullBytes, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil || len(images) != 1 {
		return nil, errors.New("the logotype extension must have exactly one picture: ask the CA for another certificate")
	}
	image, err := elements(images[0].FullBytes, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil || len(image) == 0 || len(image) > 2 { // imageDetails, and perhaps imageInfo
		return nil, errLogotype
	}
	return parseDetails(image[0].FullBytes)
}

// parseDetails reads LogotypeDetails: mediaType, logotypeHash, logotypeURI.
func parseDetails(der []byte) (*logotype, error) {
	parts, err := elements(der, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil || len(parts) != 3 {
		return nil, errLogotype
	}
	if !is(parts[0], asn1.ClassUniversal, asn1.TagIA5String, false) || !isSVG(string(parts[0].Bytes)) {
		return nil, fmt.Errorf("the picture has the media type %q, and must be image/svg+xml", printable.Marked(string(parts[0].Bytes), 40))
	}
	logo := &logotype{}
	list, err := elements(parts[1].FullBytes, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil {
		return nil, errLogotype
	}
	for _, v := range list {
		h, err := parseHash(v.FullBytes)
		if err != nil {
			return nil, err
		}
		logo.hashes = append(logo.hashes, h)
	}
	uris, err := elements(parts[2].FullBytes, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil || len(uris) != 1 || !is(uris[0], asn1.ClassUniversal, asn1.TagIA5String, false) {
		return nil, errors.New("the logotype extension must have exactly one URI: ask the CA for another certificate")
	}
	logo.picture, err = dataURI(string(uris[0].Bytes))
	return logo, err
}

func parseHash(der []byte) (hashed, error) {
	var h struct {
		Algorithm struct {
			ID         asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Value []byte
	}
	if rest, err := asn1.Unmarshal(der, &h); err != nil || len(rest) > 0 {
		return hashed{}, errLogotype
	}
	return hashed{h.Algorithm.ID, h.Value}, nil
}

// isSVG reports whether a media type, without its parameters, is that of SVG. Compressed SVG has two
// (RFC 9399 §7).
func isSVG(mediaType string) bool {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	mediaType = strings.TrimSpace(mediaType)
	return strings.EqualFold(mediaType, "image/svg+xml") || strings.EqualFold(mediaType, "image/svg+xml+gzip")
}

// dataURI returns the data of a URI (RFC 2397). The certificate must hold the picture itself: what another
// URI names can change.
func dataURI(uri string) ([]byte, error) {
	const scheme = "data:"
	if len(uri) < len(scheme) || !strings.EqualFold(uri[:len(scheme)], scheme) {
		return nil, errors.New("the picture is not in the certificate, which has another URI than data: ask the CA for another certificate")
	}
	head, data, ok := strings.Cut(uri[len(scheme):], ",")
	if !ok || !isSVG(head) {
		return nil, fmt.Errorf("the URI of the picture begins with %q, and must be data:image/svg+xml", printable.Marked(scheme+head, 40))
	}
	plain, err := url.PathUnescape(data)
	if err != nil {
		return nil, errLogotype
	}
	parameters := strings.Split(head, ";")
	if !strings.EqualFold(strings.TrimSpace(parameters[len(parameters)-1]), "base64") {
		return []byte(plain), nil
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(plain, "="))
	if err != nil {
		return nil, errors.New("the picture in the certificate is not valid base64: ask the CA for another certificate")
	}
	return decoded, nil
}

// certified returns the uncompressed picture, and the names of the algorithms it was hashed with. Every
// hash whose algorithm is known must be that of the picture, and there must be one.
func (l *logotype) certified() (plain []byte, names []string, err error) {
	plain, err = svg.Uncompress(l.picture)
	if problems := svg.Problems(err); len(problems) > 0 {
		return nil, nil, errors.New(problems[0].String())
	}
	for _, h := range l.hashes {
		name, sum := digest(h.algorithm, plain)
		if name == "" || slices.Contains(names, name) && bytes.Equal(sum, h.value) {
			continue
		}
		names = append(names, name)
		if !bytes.Equal(sum, h.value) {
			return nil, names, fmt.Errorf("the %s of the picture is not the one that was certified: ask the CA for another certificate", name)
		}
	}
	if len(names) == 0 {
		return nil, nil, errors.New("the picture has no hash of a known algorithm (SHA-1, SHA-256, SHA-384, SHA-512)")
	}
	return plain, names, nil
}

// digest hashes a picture. The name is "" if the algorithm is not known.
func digest(algorithm asn1.ObjectIdentifier, picture []byte) (name string, sum []byte) {
	switch {
	case algorithm.Equal(oidSHA1):
		h := sha1.Sum(picture) //nolint:gosec // see the import
		return "SHA-1", h[:]
	case algorithm.Equal(oidSHA256):
		h := sha256.Sum256(picture)
		return "SHA-256", h[:]
	case algorithm.Equal(oidSHA384):
		h := sha512.Sum384(picture)
		return "SHA-384", h[:]
	case algorithm.Equal(oidSHA512):
		h := sha512.Sum512(picture)
		return "SHA-512", h[:]
	}
	return "", nil
}
