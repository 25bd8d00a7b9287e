package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

// TestKeys checks keys of every kind: which of them sign, and the record of those that do.
func TestKeys(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, minRSABits)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for _, tt := range []struct {
		why, block string
		der        []byte
		record     string // the beginning of the record; "" if the key cannot sign
	}{
		{"RSA of the least size", "PRIVATE KEY", pkcs8(small), "v=DKIM1; k=rsa; p="},
		{"RSA in PKCS #1", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small), "v=DKIM1; k=rsa; p="},
		{"Ed25519", "PRIVATE KEY", pkcs8(edwards), "v=DKIM1; k=ed25519; p="},
		{"ECDSA", "PRIVATE KEY", pkcs8(curve), ""},
		{"another block", "PUBLIC KEY", pkcs8(small), ""},
		{"another block of the right form", "EC PRIVATE KEY", pkcs8(edwards), ""},
		{"not a key", "PRIVATE KEY", []byte("x"), ""},
		{"not a key in PKCS #1", "RSA PRIVATE KEY", []byte("x"), ""},
	} {
		key, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: tt.block, Bytes: tt.der}))
		if (err == nil) != (tt.record != "") || err != nil && (!errors.Is(err, ErrKey) || key != nil) {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		if err != nil {
			continue
		}
		if record, err := KeyRecord(key.Public()); err != nil || !strings.HasPrefix(record, tt.record) {
			t.Errorf("%s: %q, %v", tt.why, record, err)
		}
	}
	for why, public := range map[string]crypto.PublicKey{"ECDSA": curve.Public(), "none": nil, "RSA without a number": &rsa.PublicKey{}} {
		if record, err := KeyRecord(public); err == nil || record != "" || why == "ECDSA" && !errors.Is(err, ErrKey) {
			t.Errorf("%s: %q, %v", why, record, err)
		}
	}
}

// TestSmallKey checks that a key which verifiers refuse does not sign, and that the error says which do.
func TestSmallKey(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, minRSABits-8)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if key, err := ParseKey(text); key != nil || err == nil || !strings.Contains(err.Error(), "has 1016 bits, and verifiers want at least 1024 ") {
		t.Errorf("got %v", err)
	}
}
