package dkim

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"math"
	"math/big"
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
	modulus *bigmod.Modulus // nil before once, and for sizes that bigmod is slow at
}

// prepare is left to the first verification: a key of any length may be read,
// but Check stops those whose preparation costs much. Package bigmod has
// assembly for three sizes of modulus only; math/big is more than twice as fast
// at all others, and needs no preparation.
func (k *rsaPublicKey) prepare() {
	const word = 64
	switch (k.N.BitLen() + word - 1) / word * word {
	case 1024, 1536, 2048:
		if m, err := bigmod.NewModulus(k.N.Bytes()); err == nil {
			k.modulus = m
		}
	}
}

// open returns the hash that a signature was made for, by RSASSA-PKCS1-v1_5
// with SHA-256 (RFC 8017 §8.2.2). ok is false unless the signature decrypts to
// the one encoding there is of that hash, octet for octet: reading the hash out
// of it without comparing the rest is how implementations came to accept forged
// signatures.
func (k *rsaPublicKey) open(signature []byte) (sum digest, ok bool) {
	size := k.Size()
	if len(signature) != size || size < len(sum) || k.E < 2 || k.E > math.MaxInt32 {
		return digest{}, false
	}
	em := k.power(signature)
	if em == nil {
		return digest{}, false
	}
	copy(sum[:], em[size-len(sum):])
	if want := encodePKCS1(sum, size); want == nil || !bytes.Equal(em, want) {
		return digest{}, false
	}
	return sum, true
}

// power is RSAVP1 (RFC 8017 §5.2.2): nil if s does not lie below the modulus.
func (k *rsaPublicKey) power(s []byte) []byte {
	if k.once.Do(k.prepare); k.modulus != nil {
		x, err := bigmod.NewNat().SetBytes(s, k.modulus)
		if err != nil {
			return nil
		}
		return bigmod.NewNat().ExpShortVarTime(x, uint(k.E), k.modulus).Bytes(k.modulus)
	}
	x := new(big.Int).SetBytes(s)
	if x.Cmp(k.N) >= 0 {
		return nil
	}
	return x.Exp(x, big.NewInt(int64(k.E)), k.N).FillBytes(make([]byte, len(s)))
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
