package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"

	"sekimori/internal/taglist"
)

// Key is one key record (RFC 6376 §3.6.1).
type Key struct {
	Type    string // k=: "rsa" or "ed25519"
	Bits    int
	Testing bool // t=y
	Strict  bool // t=s: i= must be d= itself
	// Authenticated says that the resolver validated the record by DNSSEC.
	Authenticated bool

	public  crypto.PublicKey // *rsa.PublicKey or ed25519.PublicKey
	revoked bool             // p= is empty
	weak    bool             // anyone can sign: see smallOrder
	sha256  bool             // h= allows it
	email   bool             // s= allows it
}

// The key types (RFC 6376 §3.6.1, RFC 8463 §4).
const (
	keyRSA     = "rsa"
	keyEd25519 = "ed25519"
)

// errNotKey marks a TXT record that is not a DKIM key at all: with wildcards
// anything may stand at a key's name (RFC 6376 §6.1.2 step 5).
var errNotKey = &Error{PermError, ReasonKeyNotFound, "no key among the TXT records"}

// ParseKey reads a key record. Keys of a wrong size, service or hash are read:
// whether a key may verify a signature is for its use to say.
func ParseKey(txt string) (Key, *Error) {
	tags, version, err := keyTags(txt)
	if err != nil {
		if version {
			return Key{}, &Error{PermError, ReasonKeySyntax, cause(err)}
		}
		return Key{}, errNotKey
	}
	if v, ok := tags.Get("v"); ok {
		if v != "DKIM1" { // RFC 6376 §3.6.1: must be discarded
			return Key{}, errNotKey
		}
		if tags[0].Name != "v" {
			return Key{}, &Error{PermError, ReasonKeySyntax, "v= is not the first tag"}
		}
	}
	p, ok := tags.Get("p")
	if !ok {
		if !version {
			return Key{}, errNotKey
		}
		return Key{}, &Error{PermError, ReasonKeySyntax, "no p="}
	}
	k := Key{Type: keyRSA, sha256: true, email: true}
	if v, ok := tags.Get("k"); ok {
		k.Type = strings.ToLower(v)
	}
	if v, ok := tags.Get("h"); ok {
		k.sha256 = listed(v, "sha256")
	}
	if v, ok := tags.Get("s"); ok {
		k.email = listed(v, "email", "*")
	}
	if v, ok := tags.Get("t"); ok {
		k.Testing, k.Strict = listed(v, "y"), listed(v, "s")
	}
	if p == "" {
		k.revoked = true
		return k, nil
	}
	der, ok := decodeBase64(taglist.StripFWS(p))
	if !ok {
		return Key{}, &Error{PermError, ReasonKeySyntax, "p= is no base64"}
	}
	if err := k.parsePublic(der); err != nil {
		return Key{}, err
	}
	return k, nil
}

// keyTags is taglist.Parse that forgives empty pieces: ";;" is a common slip
// in zone files, and nobody gains by it.
func keyTags(txt string) (list taglist.List, version bool, err error) {
	for tag, e := range taglist.All(txt) {
		_, duplicate := list.Tag(tag.Name)
		switch {
		case errors.Is(e, taglist.ErrEmpty):
			continue
		case e != nil:
			return nil, version, e
		case duplicate:
			return nil, version, taglist.ErrDuplicate
		}
		list = append(list, tag)
		version = version || tag.Name == "v" && tag.Value == "DKIM1"
	}
	if len(list) == 0 {
		return nil, false, taglist.ErrEmpty
	}
	return list, version, nil
}

// listed reports whether a colon-separated list has one of the words.
func listed(value string, words ...string) bool {
	return slices.ContainsFunc(taglist.Split(value, ':'), func(item string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(item, w) })
	})
}

func (k *Key) parsePublic(der []byte) *Error {
	switch k.Type {
	case keyRSA:
		return k.parseRSA(der)
	case keyEd25519:
		if len(der) != ed25519.PublicKeySize { // RFC 8463 §4: the 32 octets, no ASN.1
			return &Error{PermError, ReasonKeySyntax, "p= is no Ed25519 key"}
		}
		k.public, k.Bits, k.weak = ed25519.PublicKey(der), 256, smallOrder(der)
		return nil
	}
	return nil // an unknown k=: no key for any a= known here
}

// parseRSA accepts what everybody publishes, SubjectPublicKeyInfo, and what
// RFC 6376 §3.6.1 says, RSAPublicKey (errata 7001 and predecessors).
func (k *Key) parseRSA(der []byte) *Error {
	bad := &Error{PermError, ReasonKeySyntax, "p= is no RSA key"}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if pub, err = x509.ParsePKCS1PublicKey(der); err != nil {
			return bad
		}
	}
	key, ok := pub.(*rsa.PublicKey)
	// An even number is no RSA modulus or exponent.
	if !ok || key.N.Sign() <= 0 || key.N.Bit(0) == 0 || key.E < 1 || key.E&1 == 0 {
		return bad
	}
	k.public, k.Bits = key, key.N.BitLen()
	return nil
}

// Use is what a signature asks of a key, and local policy about keys.
type Use struct {
	Algorithm              string // the signature's a=
	MinRSABits, MaxRSABits int
	// SubdomainIdentity says that i= lies below d=, which t=s forbids.
	SubdomainIdentity bool
}

// Check says why a signature must not be verified with k, or nil
// (RFC 6376 §6.1.2 steps 5 to 8).
func (k Key) Check(u Use) *Error {
	want := keyRSA
	if u.Algorithm == ed25519SHA256 {
		want = keyEd25519
	}
	switch {
	case !k.email:
		return &Error{PermError, ReasonKeyService, "the key is not for email"}
	case k.revoked:
		return &Error{PermError, ReasonKeyRevoked, "the key is revoked"}
	case k.Type != want:
		return &Error{PermError, ReasonKeyType, "the key is not for this algorithm"}
	case !k.sha256:
		return &Error{PermError, ReasonKeyHash, "the key is not for SHA-256"}
	case u.SubdomainIdentity && k.Strict:
		return &Error{PermError, ReasonStrictIdentity, "the key asks for i= in d= itself"}
	}
	return k.checkStrength(u)
}

func (k Key) checkStrength(u Use) *Error {
	switch pub := k.public.(type) {
	case *rsa.PublicKey:
		switch {
		case k.Bits < u.MinRSABits: // RFC 8301 §3.2
			return &Error{Policy, ReasonWeakKey, "the RSA key is too short"}
		case k.Bits > u.MaxRSABits: // the cost grows with the square
			return &Error{Policy, ReasonLargeKey, "the RSA key is too long"}
		case pub.E < 3: // with 1 every message signs itself
			return &Error{Policy, ReasonWeakKey, "the RSA exponent signs nothing"}
		}
	case ed25519.PublicKey:
		if k.weak {
			return &Error{Policy, ReasonWeakKey, "the Ed25519 point is of small order"}
		}
	}
	return nil
}

// verifies reports whether signature is one of sum. Check comes first.
func (k *Key) verifies(sum digest, signature []byte) bool {
	switch pub := k.public.(type) {
	case *rsa.PublicKey:
		return verifyRSA(pub, sum, signature)
	case ed25519.PublicKey: // RFC 8463 §3: PureEdDSA over the hash
		return ed25519.Verify(pub, sum[:], signature)
	}
	return false
}

// smallOrder tells the points of order 1, 2, 4 and 8, in every encoding: under
// such a key one signature verifies for a good part of all messages, so that
// the holder of no private key can sign. The y coordinates are 0, 1, -1 and
// the two of order 8; the sign bit does not matter.
func smallOrder(pub ed25519.PublicKey) bool {
	le := bytes.Clone(pub)
	le[31] &= 0x7f
	slices.Reverse(le)
	y := new(big.Int).SetBytes(le)
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	y.Mod(y, p) // non-canonical encodings count as what they encode
	order8, _ := new(big.Int).SetString(order8Y, 16)
	for _, low := range []*big.Int{
		new(big.Int), big.NewInt(1), new(big.Int).Sub(p, big.NewInt(1)),
		order8, new(big.Int).Sub(p, order8),
	} {
		if y.Cmp(low) == 0 {
			return true
		}
	}
	return false
}

// order8Y is the y coordinate of four points of order 8 of edwards25519; that
// of the other four is its negative.
const order8Y = "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826"
