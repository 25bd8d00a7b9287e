package dkim

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/testkit/signer"
)

func TestKeyStrength(t *testing.T) {
	for _, tc := range []struct {
		why  string
		key  *rsa.PublicKey
		o    Options
		want Reason // "" if a signature may be verified
	}{
		{"512 bits, RFC 8301 §3.2", signer.PublicRSA(512, 65537), Options{}, ReasonWeakKey},
		{"1023 bits", signer.PublicRSA(1023, 65537), Options{}, ReasonWeakKey},
		{"1024 bits", signer.PublicRSA(1024, 65537), Options{}, ""},
		{"1024 bits where 2048 are asked", signer.PublicRSA(1024, 65537), Options{MinRSABits: 2048}, ReasonWeakKey},
		{"8192 bits", signer.PublicRSA(8192, 65537), Options{}, ""},
		{"8193 bits", signer.PublicRSA(8193, 65537), Options{}, ReasonLargeKey},
		{"380,000 bits: eight seconds if used", signer.PublicRSA(380_000, 65537), Options{}, ReasonLargeKey},
		{"exponent 1: every message signs itself", signer.PublicRSA(2048, 1), Options{}, ReasonWeakKey},
	} {
		key, err := syntax.ParseKey(signer.Record(tc.key))
		if err != nil {
			t.Errorf("%s: %v", tc.why, err)
			continue
		}
		if got := reasonOf(checkStrength(&key, tc.o.WithDefaults())); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.why, got, tc.want)
		}
	}
}

func reasonOf(err *Error) Reason {
	if err == nil {
		return ""
	}
	return err.Reason
}

// TestSmallOrder first shows an attack: with the neutral point as the key, any
// signature with R = S*B verifies for every message. Then it checks that such
// keys are refused.
func TestSmallOrder(t *testing.T) {
	neutral := make(ed25519.PublicKey, 32)
	neutral[0] = 1
	forged := make([]byte, 64)
	forged[0] = 1 // R is the neutral point, S is 0
	if !ed25519.Verify(neutral, []byte("anything"), forged) {
		t.Fatal("the standard library now refuses small order itself: the check may go")
	}
	for _, point := range []string{ // the eight points of small order, and other encodings of them
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		raw, err := hex.DecodeString(point)
		if err != nil {
			t.Fatal(err)
		}
		key, perr := syntax.ParseKey("v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(raw))
		if perr != nil {
			t.Fatal(perr)
		}
		if got := reasonOf(checkStrength(&key, Options{})); got != ReasonWeakKey {
			t.Errorf("%s: %q, want %s", point, got, ReasonWeakKey)
		}
	}
	if key, _ := syntax.ParseKey(signer.Record(edKey().Public())); key.SmallOrder {
		t.Error("an honest key counts as small")
	}
}

func TestKeyVerifyMismatch(t *testing.T) {
	key, err := syntax.ParseKey(signer.Record(edKey().Public()))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("x"))
	good := ed25519.Sign(edKey(), sum[:])
	if !verifies(&key, sum, good) {
		t.Error("a good signature does not verify")
	}
	for n := range 66 { // crypto/ed25519 panics if a key has a wrong length, but not if a signature has one
		if n != 64 && verifies(&key, sum, make([]byte, n)) {
			t.Errorf("a signature of %d octets verifies", n)
		}
	}
	if verifies(new(syntax.Key), sum, good) {
		t.Error("no key verifies")
	}
}
