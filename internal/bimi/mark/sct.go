package mark

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sekimori/internal/printable"
)

const (
	maxSCTs = 10 // timestamps of a certificate; real ones have one to three
	// maxAhead is how far ahead of our clock a log's or a CA's may be.
	maxAhead = 5 * time.Minute
)

var oidSCTs = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// Log is a log of Certificate Transparency (RFC 6962).
type Log struct {
	Name string
	id   [sha256.Size]byte // hash of the key (§3.2)
	key  crypto.PublicKey
}

// ID returns the hash of the log's key, by which certificates name it (RFC 6962 §3.2).
func (l *Log) ID() [sha256.Size]byte { return l.id }

// gorgonKey is the public key of DigiCert's log for mark certificates, as in the list of approved logs of
// BIMI (crtsh/ctloglists, files/bimi/v3/approved_logs_list.json). Its hash is the log id in real
// certificates.
const gorgonKey = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbEiWluJDIqWi8JbeCSfR3V2k/a5s9XtZv+HU5u/gU9NSYnWGwEoEW6IK7n6LehfrJL3znCUAC0ayEaeiFQuibA=="

// BuiltinLogs returns the logs for mark certificates that are known: DigiCert Gorgon.
func BuiltinLogs() []Log {
	log, _ := ParseLog("DigiCert Gorgon", gorgonKey) // a test checks that it can be read
	return []Log{log}
}

// ParseLog reads the public key of a log: base64 of a SubjectPublicKeyInfo, as lists of logs have it.
func ParseLog(name, key string) (Log, error) {
	der, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return Log{}, fmt.Errorf("mark: the key of the log %q is not base64", name)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Log{}, fmt.Errorf("mark: the key of the log %q: %w", name, err)
	}
	switch public.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey:
		return Log{Name: name, id: sha256.Sum256(der), key: public}, nil
	}
	return Log{}, fmt.Errorf("mark: the key of the log %q is neither ECDSA nor RSA", name)
}

// sct is a signed certificate timestamp (RFC 6962 §3.2).
type sct struct {
	log        [sha256.Size]byte
	timestamp  uint64 // milliseconds since 1970
	extensions []byte
	algorithm  [2]byte // of hash and signature
	signature  []byte
}

var errSCT = errors.New("the certificate's timestamps of CT logs cannot be read: ask the CA for another certificate")

// logged says whether a certificate is in a CT log, by the timestamps in it. Those of a log whose key is
// known must be signed by it. The detail says what was looked at.
func (r *Rules) logged(leaf, issuer *x509.Certificate, now time.Time) (detail string, err error) {
	found, ok := find(leaf, oidSCTs)
	if !ok {
		return "", errors.New("the certificate has no timestamp of a CT log: ask the CA for another")
	}
	list, err := parseSCTs(found.Value)
	if err != nil {
		return "", err
	}
	verified := ""
	for _, s := range list {
		if s.timestamp > uint64(max(0, now.Add(maxAhead).UnixMilli())) {
			return "", undecided{errors.New("a timestamp of a CT log is in the future: the log's clock or ours is wrong")}
		}
		for _, log := range r.Logs {
			if log.id != s.log {
				continue
			}
			if !log.signed(s, leaf, issuer) {
				return "", fmt.Errorf("the timestamp of the log %s is not signed by it: ask the CA for another certificate", printable.Marked(log.Name, maxText))
			}
			verified = log.Name
		}
	}
	if verified != "" {
		return "signed by " + printable.Marked(verified, maxText), nil
	}
	return fmt.Sprintf("%d timestamps of logs whose key is not configured: their signatures were not checked", len(list)), nil
}

// signed reports whether the timestamp is the log's, for this certificate (RFC 6962 §3.2).
func (l *Log) signed(s sct, leaf, issuer *x509.Certificate) bool {
	tbs, err := withoutSCTs(leaf.RawTBSCertificate)
	if err != nil || s.algorithm[0] != 4 { // SHA-256 is the only one (§2.1.4)
		return false
	}
	issuerKey := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	entry := []byte{0, 0} // v1, certificate_timestamp
	entry = binary.BigEndian.AppendUint64(entry, s.timestamp)
	entry = append(entry, 0, 1) // precert_entry
	entry = append(entry, issuerKey[:]...)
	entry = append(entry, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	entry = append(entry, tbs...)
	entry = binary.BigEndian.AppendUint16(entry, uint16(len(s.extensions)))
	hash := sha256.Sum256(append(entry, s.extensions...))
	switch key := l.key.(type) {
	case *ecdsa.PublicKey:
		return s.algorithm[1] == 3 && ecdsa.VerifyASN1(key, hash[:], s.signature)
	case *rsa.PublicKey:
		return s.algorithm[1] == 1 && rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], s.signature) == nil
	}
	return false
}

// parseSCTs reads the extension: an octet string with a list of TLS (RFC 6962 §3.3).
func parseSCTs(value []byte) ([]sct, error) {
	var octets []byte
	if rest, err := asn1.Unmarshal(value, &octets); err != nil || len(rest) > 0 {
		return nil, errSCT
	}
	all, rest, ok := vector(octets)
	if !ok || len(rest) > 0 {
		return nil, errSCT
	}
	var list []sct
	for len(all) > 0 {
		var one []byte
		if one, all, ok = vector(all); !ok || len(list) == maxSCTs {
			return nil, errSCT
		}
		s, ok := parseSCT(one)
		if !ok {
			return nil, errSCT
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, errSCT
	}
	return list, nil
}

func parseSCT(b []byte) (s sct, ok bool) {
	const head = 1 + sha256.Size + 8
	if len(b) < head || b[0] != 0 { // v1
		return s, false
	}
	copy(s.log[:], b[1:])
	s.timestamp = binary.BigEndian.Uint64(b[1+sha256.Size:])
	s.extensions, b, ok = vector(b[head:])
	if !ok || len(b) < 2 {
		return s, false
	}
	copy(s.algorithm[:], b)
	s.signature, b, ok = vector(b[2:])
	return s, ok && len(b) == 0
}

// vector reads octets with a length of two octets before them.
func vector(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	end := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < end {
		return nil, nil, false
	}
	return b[2:end], b[end:], true
}

// withoutSCTs returns the TBSCertificate that the log signed: without the extension that has the
// timestamps (RFC 6962 §3.2).
func withoutSCTs(tbs []byte) ([]byte, error) {
	const extensions = 3 // the tag of the extensions in TBSCertificate (RFC 5280 §4.1)
	parts, err := elements(tbs, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil || len(parts) == 0 {
		return nil, errASN1
	}
	last := parts[len(parts)-1]
	inner, err := elements(last.FullBytes, asn1.ClassContextSpecific, extensions)
	if err != nil || len(inner) != 1 {
		return nil, errASN1
	}
	all, err := elements(inner[0].FullBytes, asn1.ClassUniversal, asn1.TagSequence)
	if err != nil {
		return nil, err
	}
	var kept, whole []byte
	for _, e := range all {
		var one extension
		if _, err := asn1.Unmarshal(e.FullBytes, &one); err != nil {
			return nil, errASN1
		}
		if !one.Id.Equal(oidSCTs) {
			kept = append(kept, e.FullBytes...)
		}
	}
	for _, p := range parts[:len(parts)-1] {
		whole = append(whole, p.FullBytes...)
	}
	list := wrap(asn1.ClassContextSpecific, extensions, wrap(asn1.ClassUniversal, asn1.TagSequence, kept))
	return wrap(asn1.ClassUniversal, asn1.TagSequence, append(whole, list...)), nil
}

func wrap(class, tag int, content []byte) []byte {
	der, _ := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: content}) // a RawValue is marshalled as it is
	return der
}
