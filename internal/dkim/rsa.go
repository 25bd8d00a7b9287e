package dkim

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"math"
	"sync"

	"filippo.io/bigmod"
)

// rsaPublicKey is an RSA public key that prepares what every verification under it
// needs once: the constants for Montgomery's multiplication take as long as the
// exponentiation, and crypto/rsa computes them anew each time. The arithmetic
// is that of crypto/rsa, published by its authors.
type rsaPublicKey struct {
	*rsa.PublicKey // of an odd modulus

	once    sync.Once
	modulus *bigmod.Modulus // nil before once, and if there can be none
}

// prepare is left to the first verification: a key of any length may be read,
// but Check stops those whose preparation costs much.
func (k *rsaPublicKey) prepare() {
	if m, err := bigmod.NewModulus(k.N.Bytes()); err == nil {
		k.modulus = m
	}
}

// verify is RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 §8.2.2). It compares what
// the signature decrypts to with the one encoding there is of sum: reading it
// instead is how implementations came to accept forged signatures.
func (k *rsaPublicKey) verify(sum [sha256.Size]byte, signature []byte) bool {
	if len(signature) != k.Size() || k.E < 2 || k.E > math.MaxInt32 {
		return false
	}
	want := encodePKCS1(sum, k.Size())
	if want == nil {
		return false
	}
	if k.once.Do(k.prepare); k.modulus == nil {
		return false
	}
	s, err := bigmod.NewNat().SetBytes(signature, k.modulus)
	if err != nil { // RFC 8017 §5.2.2: it must lie below the modulus
		return false
	}
	m := bigmod.NewNat().ExpShortVarTime(s, uint(k.E), k.modulus)
	return bytes.Equal(m.Bytes(k.modulus), want)
}

// digestInfo stands before a SHA-256 hash (RFC 8017 §9.2 note 1).
const digestInfo = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

// leastPadding is how many octets FF an encoded message has at least.
const leastPadding = 8

// encodePKCS1 is EMSA-PKCS1-v1_5 (RFC 8017 §9.2), nil if sum does not fit into
// size octets.
func encodePKCS1(sum [sha256.Size]byte, size int) []byte {
	padding := size - len("\x00\x01\x00") - len(digestInfo) - len(sum)
	if padding < leastPadding {
		return nil
	}
	em := make([]byte, 0, size)
	em = append(em, 0, 1)
	em = append(em, bytes.Repeat([]byte{0xff}, padding)...)
	em = append(em, 0)
	em = append(em, digestInfo...)
	return append(em, sum[:]...)
}
