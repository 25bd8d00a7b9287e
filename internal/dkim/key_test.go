package dkim

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"sekimori/internal/testkit/signer"
	"strings"
	"testing"
)

// publicRSA is a key of so many bits that nobody can sign with.
func publicRSA(bits, e int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(12345)), E: e}
}

func TestParseKey(t *testing.T) {
	rsaP := strings.TrimPrefix(signer.Record(&rsaKey(t).PublicKey), "v=DKIM1; k=rsa; ")
	edP := strings.TrimPrefix(signer.Record(edKey().Public()), "v=DKIM1; k=ed25519; ")
	pkcs1 := "p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&rsaKey(t).PublicKey))
	sha256RSA := Use{Algorithm: rsaSHA256, MinRSABits: 1024, MaxRSABits: 8192}
	for _, tc := range []struct {
		why, txt string
		use      Use
		parse    Reason // of ParseKey, "" if it parses
		check    Reason // of Key.Check, "" if usable
	}{
		{"p= alone is a record: all else has defaults", rsaP, sha256RSA, "", ""},
		{"the usual record", "v=DKIM1; k=rsa; " + rsaP, sha256RSA, "", ""},
		{"a bare RSAPublicKey, as RFC 6376 §3.6.1 has it", "v=DKIM1; " + pkcs1, sha256RSA, "", ""},
		{"white space in p=", "v=DKIM1;p=" + rsaP[2:50] + " \t" + rsaP[50:] + ";", sha256RSA, "", ""},
		{"no padding in p=", "v=DKIM1; " + strings.TrimRight(edP, "=") + "; k=ed25519", Use{Algorithm: ed25519SHA256}, "", ""},
		{"double semicolons, a slip in zone files", "v=DKIM1;; k=rsa; " + rsaP + ";;", sha256RSA, "", ""},
		{"unknown tags, g= and n= are ignored", "v=DKIM1; g=nobody; n=a note; foo=bar; " + rsaP, sha256RSA, "", ""},
		{"v= of another version is no key, RFC 6376 §3.6.1", "v=DKIM2; " + rsaP, sha256RSA, ReasonKeyNotFound, ""},
		{"v= compares with case", "v=dkim1; " + rsaP, sha256RSA, ReasonKeyNotFound, ""},
		{"v= must be first", "k=rsa; v=DKIM1; " + rsaP, sha256RSA, ReasonKeySyntax, ""},
		{"an SPF record by a wildcard", "v=spf1 -all", sha256RSA, ReasonKeyNotFound, ""},
		{"any text by a wildcard", "hello world", sha256RSA, ReasonKeyNotFound, ""},
		{"nothing", "", sha256RSA, ReasonKeyNotFound, ""},
		{"tags but no p= and no v=", "k=rsa; t=y", sha256RSA, ReasonKeyNotFound, ""},
		{"no p=", "v=DKIM1; k=rsa", sha256RSA, ReasonKeySyntax, ""},
		{"a duplicate tag", "v=DKIM1; k=rsa; k=rsa; " + rsaP, sha256RSA, ReasonKeySyntax, ""},
		{"an empty p= revokes", "v=DKIM1; p=", sha256RSA, "", ReasonKeyRevoked},
		{"p= that is no base64", "v=DKIM1; p=!!!!", sha256RSA, ReasonKeySyntax, ""},
		{"p= that is no key", "v=DKIM1; p=QUJDREVG", sha256RSA, ReasonKeySyntax, ""},
		{"p= cut short", "v=DKIM1; " + rsaP[:len(rsaP)-8], sha256RSA, ReasonKeySyntax, ""},
		{"an Ed25519 key, RFC 8463", "v=DKIM1; k=ed25519; " + edP, Use{Algorithm: ed25519SHA256}, "", ""},
		{"an Ed25519 key of another length", "v=DKIM1; k=ed25519; p=QUJD", Use{Algorithm: ed25519SHA256}, ReasonKeySyntax, ""},
		{"an Ed25519 key for an RSA signature", "v=DKIM1; k=ed25519; " + edP, sha256RSA, "", ReasonKeyType},
		{"an RSA key for an Ed25519 signature", "v=DKIM1; " + rsaP, Use{Algorithm: ed25519SHA256}, "", ReasonKeyType},
		{"an unknown key type", "v=DKIM1; k=dsa; p=QUJD", sha256RSA, "", ReasonKeyType},
		{"h= that has sha256", "v=DKIM1; h=sha1 : sha256; " + rsaP, sha256RSA, "", ""},
		{"h= without sha256", "v=DKIM1; h=sha1; " + rsaP, sha256RSA, "", ReasonKeyHash},
		{"s=email", "v=DKIM1; s=foo:email; " + rsaP, sha256RSA, "", ""},
		{"s=*", "v=DKIM1; s=*; " + rsaP, sha256RSA, "", ""},
		{"s= for something else", "v=DKIM1; s=tlsrpt; " + rsaP, sha256RSA, "", ReasonKeyService},
		{"t=s and i= in d= itself", "v=DKIM1; t=y:s; " + rsaP, sha256RSA, "", ""},
		{"t=s and i= in a subdomain", "v=DKIM1; t=y:s; " + rsaP,
			Use{Algorithm: rsaSHA256, MinRSABits: 1024, MaxRSABits: 8192, SubdomainIdentity: true}, "", ReasonStrictIdentity},
		{"t=y and i= in a subdomain", "v=DKIM1; t=y; " + rsaP,
			Use{Algorithm: rsaSHA256, MinRSABits: 1024, MaxRSABits: 8192, SubdomainIdentity: true}, "", ""},
		{"512 bits, RFC 8301 §3.2", signer.Record(publicRSA(512, 65537)), sha256RSA, "", ReasonWeakKey},
		{"1023 bits", signer.Record(publicRSA(1023, 65537)), sha256RSA, "", ReasonWeakKey},
		{"1024 bits", signer.Record(publicRSA(1024, 65537)), sha256RSA, "", ""},
		{"1024 bits where 2048 are asked", signer.Record(publicRSA(1024, 65537)), Use{Algorithm: rsaSHA256, MinRSABits: 2048, MaxRSABits: 8192}, "", ReasonWeakKey},
		{"8192 bits", signer.Record(publicRSA(8192, 65537)), sha256RSA, "", ""},
		{"8193 bits", signer.Record(publicRSA(8193, 65537)), sha256RSA, "", ReasonLargeKey},
		{"380,000 bits: eight seconds if used", signer.Record(publicRSA(380_000, 65537)), sha256RSA, "", ReasonLargeKey},
		{"exponent 1: every message signs itself", signer.Record(publicRSA(2048, 1)), sha256RSA, "", ReasonWeakKey},
		{"an even exponent", signer.Record(publicRSA(2048, 4)), sha256RSA, ReasonKeySyntax, ""},
	} {
		key, err := ParseKey(tc.txt)
		if got := reasonOf(err); got != tc.parse {
			t.Errorf("%s: ParseKey %v, want %q", tc.why, err, tc.parse)
			continue
		}
		if err != nil {
			continue
		}
		if got := reasonOf(key.Check(tc.use)); got != tc.check {
			t.Errorf("%s: Check %q, want %q", tc.why, got, tc.check)
		}
		if tc.check == "" && key.Bits == 0 {
			t.Errorf("%s: usable, but of no size", tc.why)
		}
	}
}

func reasonOf(err *Error) Reason {
	if err == nil {
		return ""
	}
	return err.Reason
}

func TestEvenModulus(t *testing.T) {
	pub := publicRSA(2048, 65537)
	pub.N.Add(pub.N, big.NewInt(1))
	if _, err := ParseKey(signer.Record(pub)); reasonOf(err) != ReasonKeySyntax {
		t.Errorf("even modulus: %v", err)
	}
}

// TestSmallOrder shows the attack and that it is refused: under the neutral
// point as a key, R = S*B verifies for every message.
func TestSmallOrder(t *testing.T) {
	neutral := make(ed25519.PublicKey, 32)
	neutral[0] = 1
	forged := make([]byte, 64)
	forged[0] = 1 // R neutral, S = 0
	if !ed25519.Verify(neutral, []byte("anything"), forged) {
		t.Fatal("the standard library now refuses small order itself: the check may go")
	}
	for _, point := range []string{ // the eight points and their other encodings
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
		key, perr := ParseKey("v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(raw))
		if perr != nil {
			t.Fatal(perr)
		}
		if got := reasonOf(key.Check(Use{Algorithm: ed25519SHA256})); got != ReasonWeakKey {
			t.Errorf("%s: %q, want %s", point, got, ReasonWeakKey)
		}
	}
	if smallOrder(edKey().Public().(ed25519.PublicKey)) {
		t.Error("an honest key counts as small")
	}
}

func TestKeyVerifyMismatch(t *testing.T) {
	key, err := ParseKey(signer.Record(edKey().Public()))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("x"))
	good := ed25519.Sign(edKey(), sum[:])
	if !key.verifies(sum, good) {
		t.Error("a good signature does not verify")
	}
	for n := range 66 { // every length, crypto/ed25519 would panic on a wrong key only
		if n != 64 && key.verifies(sum, make([]byte, n)) {
			t.Errorf("a signature of %d octets verifies", n)
		}
	}
	if new(Key).verifies(sum, good) {
		t.Error("no key verifies")
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{
		"v=DKIM1; p=", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "v=spf1 -all", ";;",
		"v=DKIM1; p=MIGJAoGBALVI635dLK4cJJAH3Lx6upo3X/Lm1tQz3mezcWTA3BUBnyIsdnRf57aD5BtNmhPrYYDlWlzw3UgnKisIxktkk5+iMQMlFtAS10JB8L3YadXNJY+JBcbeSi5TgJe4WFzNgW95FWDAuSTRXSWZfA/8xjflbTLDx0euFZOM7C4T0GwLAgMBAAE=",
	} {
		f.Add(s, []byte("signature"))
	}
	f.Fuzz(func(t *testing.T, txt string, sig []byte) {
		key, err := ParseKey(txt)
		if err != nil {
			if err.Reason != ReasonKeySyntax && err.Reason != ReasonKeyNotFound {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, a := range []string{rsaSHA256, ed25519SHA256} {
			if key.Check(Use{Algorithm: a, MinRSABits: 1024, MaxRSABits: 8192}) != nil {
				continue
			}
			if key.Bits == 0 || key.public == nil {
				t.Fatalf("%q is usable without a key", txt)
			}
			key.verifies(digest{}, sig) // must not panic
		}
	})
}
