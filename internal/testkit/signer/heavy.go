package signer

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"math/big"
	"testing"
)

// Heavy is an RSA key of any size with any odd exponent. Its signatures can therefore cost the
// verifier more work than those of an ordinary key. Its primes have only 256 bits. So it is fast to
// generate, and unsafe for anything except tests.
type Heavy struct {
	pub    rsa.PublicKey
	primes []*big.Int
}

// NewHeavy makes a key with a modulus of about the given number of bits (up to seven fewer). bits
// must be a multiple of 256.
func NewHeavy(tb testing.TB, bits, exponent int) *Heavy {
	tb.Helper()
	const each = 256
	e, one := big.NewInt(int64(exponent)), big.NewInt(1)
	for {
		n := big.NewInt(1)
		var primes []*big.Int
		for n.BitLen() < bits-each/2 {
			p, err := rand.Prime(rand.Reader, each) // the two highest bits of p are set
			if err != nil {
				tb.Fatal(err)
			}
			below := new(big.Int).Sub(p, one)
			if new(big.Int).GCD(nil, nil, e, below).Cmp(one) != 0 {
				continue
			}
			n.Mul(n, p)
			primes = append(primes, p)
		}
		if n.BitLen() > bits-8 {
			return &Heavy{rsa.PublicKey{N: n, E: exponent}, primes}
		}
	}
}

// PublicRSA returns a public key of the given size with an odd modulus. It has no private key.
func PublicRSA(bits, exponent int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(12345)), E: exponent}
}

// Public implements [crypto.Signer].
func (k *Heavy) Public() crypto.PublicKey { return &k.pub }

// Sign implements [crypto.Signer]. It signs a SHA-256 hash with EMSA-PKCS1-v1_5 (RFC 8017 §9.2). It
// computes the signature for each prime and combines the parts with the Chinese remainder theorem.
func (k *Heavy) Sign(_ io.Reader, hash []byte, _ crypto.SignerOpts) ([]byte, error) {
	info := []byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")
	size := k.pub.Size()
	em := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, size-3-len(info)-len(hash))...)
	em = append(append(append(em, 0), info...), hash...)
	m, s, e := new(big.Int).SetBytes(em), new(big.Int), big.NewInt(int64(k.pub.E))
	for _, p := range k.primes {
		d := new(big.Int).ModInverse(e, new(big.Int).Sub(p, big.NewInt(1)))
		root := new(big.Int).Exp(m, d, p)
		others := new(big.Int).Div(k.pub.N, p)
		root.Mul(root, others).Mul(root, new(big.Int).ModInverse(others, p))
		s.Add(s, root)
	}
	return s.Mod(s, k.pub.N).FillBytes(make([]byte, size)), nil
}
