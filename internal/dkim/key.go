package dkim

import (
	"crypto/ed25519"
	"crypto/rsa"

	"sekimori/internal/dkim/syntax"
)

// checkStrength refuses keys that are too short, keys with which anybody could
// sign, and keys whose use costs too much time.
func checkStrength(k *syntax.Key, o Options) *Error {
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		switch {
		case k.Bits < o.MinRSABits: // RFC 8301 §3.2
			return &Error{Policy, ReasonWeakKey, "the RSA key is too short"}
		case k.Bits > MaxRSABits: // the cost grows with the square of the size
			return &Error{Policy, ReasonLargeKey, "the RSA key is too long"}
		case pub.E < 3: // with the exponent 1 every text is its own signature
			return &Error{Policy, ReasonWeakKey, "the RSA exponent signs nothing"}
		}
	case ed25519.PublicKey:
		if k.SmallOrder {
			return &Error{Policy, ReasonWeakKey, "the Ed25519 point is of small order"}
		}
	}
	return nil
}

// fits reports whether a signature has the length that every valid signature
// under this key has. A signature of another length cannot verify, so no work is spent on it.
func fits(k *syntax.Key, signature []byte) bool {
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		return len(signature) == pub.Size()
	case ed25519.PublicKey:
		return len(signature) == ed25519.SignatureSize
	}
	return false
}

// verifies reports whether signature is a valid signature of sum under k. The
// caller must have checked k with checkStrength.
func verifies(k *syntax.Key, sum digest, signature []byte) bool {
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		return verifyRSA(pub, sum, signature)
	case ed25519.PublicKey: // RFC 8463 §3: PureEdDSA signs the hash
		return ed25519.Verify(pub, sum[:], signature)
	}
	return false
}
