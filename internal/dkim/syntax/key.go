package syntax

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
	Bits    int    // 0 if the key is revoked
	Testing bool   // t=y
	Strict  bool   // t=s: the domain of i= must be d= itself
	// Public is an *rsa.PublicKey or an ed25519.PublicKey. It is nil if the key
	// is revoked or of an unknown type.
	Public crypto.PublicKey
	// SmallOrder says that an Ed25519 key is a point of order 1, 2, 4 or 8:
	// anybody can sign under it without a private key.
	SmallOrder bool

	revoked bool // p= is empty
	sha256  bool // h= allows SHA-256
	email   bool // s= allows email
}

// The key types (RFC 6376 §3.6.1, RFC 8463 §4).
const (
	keyRSA     = "rsa"
	keyEd25519 = "ed25519"
)

// errNotKey marks a TXT record that is not a DKIM key at all. If a domain has
// wildcards, there may be any text at the name of a key (RFC 6376 §6.1.2 step
// 5).
var errNotKey = &Error{FaultNotKey, "no key among the TXT records"}

// ParseKey reads a key record. It also reads keys of any size, and keys that are
// for another service or for another hash. [Key.Check] and package dkim decide
// which signatures a key may verify.
func ParseKey(txt string) (Key, *Error) {
	tags, version, err := keyTags(txt)
	if err != nil {
		if version {
			return Key{}, &Error{FaultKeySyntax, cause(err)}
		}
		return Key{}, errNotKey
	}
	if v, ok := tags.Get("v"); ok {
		if v != "DKIM1" { // RFC 6376 §3.6.1: must be discarded
			return Key{}, errNotKey
		}
		if tags[0].Name != "v" {
			return Key{}, &Error{FaultKeySyntax, "v= is not the first tag"}
		}
	}
	p, ok := tags.Get("p")
	if !ok {
		if !version {
			return Key{}, errNotKey
		}
		return Key{}, &Error{FaultKeySyntax, "no p="}
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
		return Key{}, &Error{FaultKeySyntax, "p= is not valid base64"}
	}
	if err := k.parsePublic(der); err != nil {
		return Key{}, err
	}
	return k, nil
}

// keyTags reads the tags of a key record as [taglist.Append] does, but skips
// empty tags: ";;" is a common mistake in zone files and does no harm. version
// is true if v=DKIM1 was read, even if an error follows.
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
		if len(der) != ed25519.PublicKeySize { // RFC 8463 §4: the key is 32 octets, without ASN.1
			return &Error{FaultKeySyntax, "p= is not an Ed25519 key"}
		}
		k.Public, k.Bits, k.SmallOrder = ed25519.PublicKey(der), 256, smallOrder(der)
		return nil
	}
	return nil // k= is unknown: the key does not fit any a= that is known here
}

// parseRSA accepts both forms of a key: the SubjectPublicKeyInfo that signers
// publish, and the RSAPublicKey that RFC 6376 §3.6.1 asks for (see erratum
// 7001).
func (k *Key) parseRSA(der []byte) *Error {
	bad := &Error{FaultKeySyntax, "p= is not an RSA key"}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if pub, err = x509.ParsePKCS1PublicKey(der); err != nil {
			return bad
		}
	}
	key, ok := pub.(*rsa.PublicKey)
	// The modulus and the exponent of an RSA key are odd.
	if !ok || key.N.Sign() <= 0 || key.N.Bit(0) == 0 || key.E < 1 || key.E&1 == 0 {
		return bad
	}
	k.Public, k.Bits = key, key.N.BitLen()
	return nil
}

// Check returns the reason why k must not verify the signature p, or nil if it
// may (RFC 6376 §6.1.2 steps 5 to 8). It does not look at the strength of the
// key.
func (k *Key) Check(p *Params) *Error {
	want := keyRSA
	if p.Algorithm == Ed25519SHA256 {
		want = keyEd25519
	}
	switch {
	case !k.email:
		return &Error{FaultKeyService, "the key is not for email"}
	case k.revoked:
		return &Error{FaultKeyRevoked, "the key is revoked"}
	case k.Type != want:
		return &Error{FaultKeyType, "the key is not for this algorithm"}
	case !k.sha256:
		return &Error{FaultKeyHash, "the key is not for SHA-256"}
	case k.Strict && p.IdentityDomain != "" && p.IdentityDomain != p.Domain:
		return &Error{FaultStrictIdentity, "the key asks for i= in d= itself"}
	}
	return nil
}

// smallOrder reports whether pub is a point of order 1, 2, 4 or 8, in any
// encoding. Under such a key one signature verifies for a large part of all
// messages, so that everybody can sign without a private key. The y coordinates
// of these points are 0, 1, -1, order8Y and -order8Y. The sign bit of x does not
// matter.
func smallOrder(pub ed25519.PublicKey) bool {
	le := bytes.Clone(pub)
	le[31] &= 0x7f
	slices.Reverse(le)
	y := new(big.Int).SetBytes(le)
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	y.Mod(y, p) // an encoding that is not canonical counts as the number modulo p
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

// order8Y is the y coordinate of two of the four points of order 8 of
// edwards25519. The other two have the negative of it.
const order8Y = "05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826"
