package dkim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"math"
	"math/big"
)

// verifyRSA reports whether signature is RSASSA-PKCS1-v1_5 with SHA-256 over sum.
// No RSA signature is accepted unless crypto/rsa has verified it in this
// function.
func verifyRSA(pub *rsa.PublicKey, sum digest, signature []byte) bool {
	return rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], signature) == nil
}

// signedDigest returns the hash that is inside a signature. The holder of the
// key has signed this hash, for this message or for another one. ok is false if
// the key did not make this signature.
//
// crypto/rsa does not return the hash. The hash is needed only if a signature
// does not match: to find out in which form the message was signed, and whether
// the MTA may have changed the signed fields. A signature never passes because of
// this hash alone.
//
// ok is true only if the encoded message is, octet for octet, the only valid
// encoding of the hash. Implementations that read the hash and did not compare
// the other octets have accepted forged signatures.
func signedDigest(pub *rsa.PublicKey, signature []byte) (sum digest, ok bool) {
	size := pub.Size()
	if len(signature) != size || size < len(sum) || pub.E < 2 || pub.E > math.MaxInt32 {
		return digest{}, false
	}
	s := new(big.Int).SetBytes(signature)
	if s.Cmp(pub.N) >= 0 { // no signature is that large (RFC 8017 §5.2.2)
		return digest{}, false
	}
	em := s.Exp(s, big.NewInt(int64(pub.E)), pub.N).FillBytes(make([]byte, size))
	copy(sum[:], em[size-len(sum):])
	if want := encodePKCS1(sum, size); want == nil || !bytes.Equal(em, want) {
		return digest{}, false
	}
	return sum, true
}

// digestInfo stands before the SHA-256 hash in an encoded message (RFC 8017 §9.2
// note 1).
const digestInfo = "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

// minPadding is the smallest number of FF octets in an encoded message.
const minPadding = 8

// encodePKCS1 is EMSA-PKCS1-v1_5 (RFC 8017 §9.2). It returns nil if sum does
// not fit into size octets.
func encodePKCS1(sum [sha256.Size]byte, size int) []byte {
	padding := size - len("\x00\x01\x00") - len(digestInfo) - len(sum)
	if padding < minPadding {
		return nil
	}
	em := make([]byte, 0, size)
	em = append(em, 0, 1)
	em = append(em, bytes.Repeat([]byte{0xff}, padding)...)
	em = append(em, 0)
	em = append(em, digestInfo...)
	return append(em, sum[:]...)
}
