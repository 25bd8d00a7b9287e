package dkim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"

	"sekimori/internal/testkit/signer"
)

// recovers reports whether signedDigest finds sum in a signature. Whatever hash it finds, crypto/rsa must
// verify the signature with that hash.
func recovers(t *testing.T, pub *rsa.PublicKey, sum digest, signature []byte) bool {
	t.Helper()
	got, ok := signedDigest(pub, signature)
	if ok && !verifyRSA(pub, got, signature) {
		t.Errorf("crypto/rsa does not verify the hash that signedDigest finds in %x", signature)
	}
	return ok && got == sum
}

// sealed returns the signature that the owner of key would make for the encoded
// message em.
func sealed(t *testing.T, key *rsa.PrivateKey, em []byte) []byte {
	t.Helper()
	m := new(big.Int).SetBytes(em)
	if m.Cmp(key.N) >= 0 {
		t.Fatal("the encoded message is not below the modulus")
	}
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

// TestRSAEncoding checks that signedDigest finds a hash in the one encoding that
// crypto/rsa verifies, and not in encodings that only look like it.
func TestRSAEncoding(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2047) // a signature plus such a modulus still has 256 octets
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("header"))
	other := sha256.Sum256([]byte("another header"))
	em := encodePKCS1(sum, key.Size())
	changed := func(change func([]byte) []byte) []byte {
		em := change(slices.Clone(em))
		if len(em) != key.Size() {
			t.Fatalf("case of %d octets", len(em))
		}
		return sealed(t, key, em)
	}
	set := func(at int, to byte) []byte {
		return changed(func(em []byte) []byte { em[at] = to; return em })
	}
	info := len(em) - len(digestInfo) - len(sum)
	good := sealed(t, key, em)
	overflow := new(big.Int).Add(new(big.Int).SetBytes(good), key.N)
	for _, c := range []struct {
		name      string
		signature []byte
		want      bool
	}{
		{"as RFC 8017 §9.2 says", good, true},
		{"as crypto/rsa makes it", signed(t, key, sum), true},
		{"another hash", signed(t, key, other), false},
		{"first octet not 0", set(0, 0x01&em[1]), false},
		{"block type 2, that of encryption", set(1, 2), false},
		{"block type 0", set(1, 0), false},
		{"an octet of the padding is not FF", set(9, 0xfe), false},
		{"padding ends early and the rest is said to be the hash", set(12, 0), false},
		{"no 0 after the padding", set(info-1, 0xff), false},
		{"hash is said to be SHA-1's", set(info+14, 0x1a), false},
		{"parameters that are not NULL", set(info+15, 0x04), false},
		{"length of the ASN.1 off by one", set(info+1, 0x32), false},
		{"last octet of the hash", set(len(em)-1, em[len(em)-1]^1), false},
		// Bleichenbacher's forgery for small exponents deceives verifiers that do not
		// check that the hash comes at the very end.
		{"short padding, garbage behind the hash", changed(func(em []byte) []byte {
			const padding = 8
			short := slices.Concat([]byte{0, 1}, em[2:2+padding], em[info-1:])
			return append(short, make([]byte, len(em)-len(short))...)
		}), false},
		{"no DigestInfo at all", changed(func(em []byte) []byte {
			for i := info - 1; i < len(em)-len(sum)-1; i++ {
				em[i] = 0xff
			}
			em[len(em)-len(sum)-1] = 0
			return em
		}), false},
		{"absent parameters", changed(func(em []byte) []byte { // some old signers leave the parameters out, but RFC 8017 §A.2.4 forbids it
			tail := slices.Concat([]byte("\x30\x2f\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x20"), sum[:])
			return slices.Concat(em[:info-1], []byte{0xff, 0xff, 0}, tail)
		}), false},
		{"one octet short", good[1:], false},
		{"one octet more in front", append([]byte{0}, good...), false},
		{"one octet more behind", append(slices.Clone(good), 0), false},
		{"empty", nil, false},
		{"zero", make([]byte, key.Size()), false},
		{"one", append(make([]byte, key.Size()-1), 1), false},
		{"the modulus itself", key.N.FillBytes(make([]byte, key.Size())), false},
		{"modulus less one", new(big.Int).Sub(key.N, big.NewInt(1)).FillBytes(make([]byte, key.Size())), false},
		{"the signature plus the modulus", overflow.FillBytes(make([]byte, key.Size())), false},
	} {
		if got := recovers(t, &key.PublicKey, sum, c.signature); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := verifyRSA(&key.PublicKey, sum, c.signature); got != c.want {
			t.Errorf("%s: crypto/rsa says %v", c.name, got)
		}
	}
}

func signed(t *testing.T, key *rsa.PrivateKey, sum digest) []byte {
	t.Helper()
	s, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRSASizes checks moduli that are not a whole number of octets or words.
func TestRSASizes(t *testing.T) {
	sum := sha256.Sum256([]byte("header"))
	for _, bits := range []int{1024, 1025, 1031, 1032, 1087, 1536} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		pub, s := &key.PublicKey, signed(t, key, sum)
		if !verifyRSA(pub, sum, s) || !recovers(t, pub, sum, s) {
			t.Errorf("%d bits: a good signature does not verify", bits)
		}
		s[len(s)/2] ^= 1
		if verifyRSA(pub, sum, s) || recovers(t, pub, sum, s) {
			t.Errorf("%d bits: a changed signature verifies", bits)
		}
	}
}

// TestRSAOddKeys uses keys that a careful program would not make. No signature may
// verify with such a key, and there must be no panic, even if the caller did not
// check the key before.
func TestRSAOddKeys(t *testing.T) {
	sum := sha256.Sum256([]byte("header"))
	for _, c := range []struct {
		name string
		n    *big.Int
		e    int
	}{
		{"modulus 1", big.NewInt(1), 65537},
		{"modulus of one octet", big.NewInt(251), 65537},
		{"modulus too short for the hash", signer.PublicRSA(480, 3).N, 3},
		{"exponent 1", signer.PublicRSA(2048, 1).N, 1},
		{"exponent 0", signer.PublicRSA(2048, 0).N, 0},
		{"exponent of more than 31 bits", signer.PublicRSA(2048, 3).N, 1<<32 + 1},
	} {
		pub := &rsa.PublicKey{N: c.n, E: c.e}
		size := pub.Size()
		for _, s := range [][]byte{make([]byte, size), encodePKCS1(sum, size), new(big.Int).Sub(c.n, big.NewInt(1)).FillBytes(make([]byte, size))} {
			if verifyRSA(pub, sum, s) || recovers(t, pub, sum, s) {
				t.Errorf("%s: %x verifies", c.name, s)
			}
		}
	}
}

// FuzzRSA checks that signedDigest and crypto/rsa agree about any signature and
// hash, under a good key and under a key with the exponent 3.
func FuzzRSA(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		f.Fatal(err)
	}
	small := signer.PublicRSA(1024, 3) // with the exponent 3 the fuzzer may forge a signature by computing a cube root
	keys := []*rsa.PublicKey{&key.PublicKey, small}
	em := encodePKCS1(sha256.Sum256([]byte("x")), 128)
	f.Add([]byte("x"), em, true)
	f.Add([]byte("x"), em[1:], false)
	f.Fuzz(func(t *testing.T, signed, octets []byte, seal bool) {
		sum := sha256.Sum256(signed)
		if seal && len(octets) == key.Size() && new(big.Int).SetBytes(octets).Cmp(key.N) < 0 {
			octets = sealed(t, key, octets)
		}
		for _, k := range keys {
			if got, want := recovers(t, k, sum, octets), verifyRSA(k, sum, octets); got != want {
				t.Errorf("signedDigest finds the hash: %v; crypto/rsa says %v", got, want)
			}
		}
	})
}
