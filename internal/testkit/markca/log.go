package markca

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"testing"
	"time"
)

// Log is a log of Certificate Transparency (RFC 6962).
type Log struct {
	Name string
	// Key is its public key, as lists of logs have it.
	Key string
	// Change changes what the log signs, to make a timestamp wrong. It may be nil.
	Change func(signed []byte)
	// Later is added to the time of a timestamp.
	Later time.Duration

	key crypto.Signer
	id  [sha256.Size]byte
}

// NewLog makes a log with a key of its own.
func NewLog(tb testing.TB, name string) *Log {
	tb.Helper()
	return newLog(tb, name, newKey(tb))
}

// NewRSALog makes a log that signs with RSA.
func NewRSALog(tb testing.TB, name string, key *rsa.PrivateKey) *Log {
	tb.Helper()
	return newLog(tb, name, key)
}

func newLog(tb testing.TB, name string, key crypto.Signer) *Log {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	return &Log{Name: name, Key: base64.StdEncoding.EncodeToString(der), key: key, id: sha256.Sum256(der)}
}

// timestamps returns the value of the extension with one timestamp of each log.
func timestamps(tb testing.TB, logs []*Log, tbs, issuerKey []byte, at time.Time) []byte {
	tb.Helper()
	var list []byte
	for _, l := range logs {
		one := l.timestamp(tb, tbs, issuerKey, at)
		list = append(binary.BigEndian.AppendUint16(list, uint16(len(one))), one...)
	}
	return Marshal(tb, append(binary.BigEndian.AppendUint16(nil, uint16(len(list))), list...))
}

// timestamp returns a SignedCertificateTimestamp for the TBSCertificate of a precertificate (§3.2).
func (l *Log) timestamp(tb testing.TB, tbs, issuerKey []byte, at time.Time) []byte {
	tb.Helper()
	var when [8]byte
	binary.BigEndian.PutUint64(when[:], uint64(at.Add(l.Later).UnixMilli()))
	issuer := sha256.Sum256(issuerKey)
	signed := append([]byte{0, 0}, when[:]...)
	signed = append(append(signed, 0, 1), issuer[:]...)
	signed = append(signed, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	signed = append(append(signed, tbs...), 0, 0)
	if l.Change != nil {
		l.Change(signed)
	}
	hash := sha256.Sum256(signed)
	signature, err := l.key.Sign(rand.Reader, hash[:], crypto.SHA256)
	if err != nil {
		tb.Fatal(err)
	}
	out := append([]byte{0}, l.id[:]...)
	algorithm := byte(3) // ECDSA
	if _, ok := l.key.(*rsa.PrivateKey); ok {
		algorithm = 1
	}
	out = append(append(out, when[:]...), 0, 0, 4, algorithm)
	return append(binary.BigEndian.AppendUint16(out, uint16(len(signature))), signature...)
}
