package attack

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math/big"
	"sekimori/internal/testkit/signer"
	"strings"
	"testing"
)

const keyName = "s._domainkey.bank.example"

// modulus returns a random odd number of the given length. Nobody knows its factors, so it has no
// private key.
func modulus(bits int) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		panic(err)
	}
	return n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// pkcs1 returns a key record with an RSAPublicKey made of the given numbers.
func pkcs1(n, e *big.Int) string {
	der, err := asn1.Marshal(struct{ N, E *big.Int }{n, e})
	if err != nil {
		panic(err)
	}
	return "v=DKIM1; k=rsa; p=" + b64(der)
}

func spki(t *testing.T, pub any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// forger signs without a private key. This is possible for some weak public keys.
type forger struct {
	pub crypto.PublicKey
	sig func(digest []byte) []byte
}

func (f forger) Public() crypto.PublicKey { return f.pub }

func (f forger) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return f.sig(digest), nil
}

// padded returns the padded hash that an RSA signature (PKCS #1 v1.5) is computed from. With the
// public exponent 1, this value itself is a valid signature.
func padded(digest []byte) []byte {
	info, _ := hex.DecodeString("3031300d060960864801650304020105000420")
	tail := append(append([]byte{0}, info...), digest...)
	return append(append([]byte{0, 1}, []byte(strings.Repeat("\xff", 256-2-len(tail)))...), tail...)
}

// TestDKIMKeys publishes key records of many kinds under the name of the bank's key.
func TestDKIMKeys(t *testing.T) {
	r := newRig(t, "", nil)
	ed, rsaKey := edRecord(bankKey()), signer.Record(&bankRSA().PublicKey)
	p := ed[strings.Index(ed, "p=")+2:]
	raw, _ := base64.StdEncoding.DecodeString(p)
	other := txt(keyName, edRecord(evilKey()))
	with := func(tags string) string { return txt(keyName, "v=DKIM1; k=ed25519; "+tags+"; p="+p) }
	line := func(strs string) string { return keyName + " TXT " + strs + "\n" }
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der := spki(t, &bankRSA().PublicKey)
	rsaOf := func(b []byte) string { return txt(keyName, "v=DKIM1; k=rsa; p="+b64(b)) }
	edOf := func(b []byte) string { return txt(keyName, "v=DKIM1; k=ed25519; p="+b64(b)) }
	for _, tc := range []struct {
		why, zone string
		rsa       bool // the message is signed with the bank's RSA key instead of its Ed25519 key
		want      string
	}{
		{"Ed25519", txt(keyName, ed), false, "pass"},
		{"RSA as SubjectPublicKeyInfo", txt(keyName, rsaKey), true, "pass"},
		{"RSA as RSAPublicKey", txt(keyName, pkcs1(bankRSA().N, big.NewInt(int64(bankRSA().E)))), true, "pass"},

		{"no record", "", false, "permerror/key_not_found"},
		{"beside other TXT", txt(keyName, "v=spf1 +all") + txt(keyName, ed) + txt(keyName, "hello"), false, "pass"},
		{"the second of two keys", other + txt(keyName, ed), false, "pass"},
		{"the fourth of four", other + other2(2) + txt(keyName, ed), false, "pass"},
		{"the fifth of five: more than are tried", other + other2(3) + txt(keyName, ed), false, "fail/signature_mismatch"},
		{"only another's", other, false, "fail/signature_mismatch"},
		{"a malformed one and the key", txt(keyName, "v=DKIM1; p=***") + txt(keyName, ed), false, "pass"},
		{"a revoked one and another's: the first objection", txt(keyName, "v=DKIM1; p=") + other, false, "permerror/key_revoked"},

		{"strings split inside words", line(`"v=DK" "IM1; k=ed2" "5519; p=` + p[:9] + `" "` + p[9:] + `"`), false, "pass"},
		{"strings split into empty ones", line(`"" "v=DKIM1; k=ed25519; p=" "" "` + p + `" ""`), false, "pass"},
		{"white space inside p=", line(`"v=DKIM1; k=ed25519; p=` + p[:9] + ` " "  ` + p[9:] + `"`), false, "pass"},
		{"escapes of the zone file", line(`"v=DKIM1\; k=ed25519\; \112=` + p + `"`), false, "pass"},
		{"backslashes on the wire", txt(keyName, `v=DKIM1\; k=ed25519\; p=`+p), false, "permerror/key_not_found"},
		{"quotes on the wire", txt(keyName, `"`+ed+`"`), false, "permerror/key_not_found"},
		{"NUL after the version", line(`"v=DKIM1\000; k=ed25519; p=` + p + `"`), false, "permerror/key_not_found"},
		{"NUL inside p=", line(`"v=DKIM1; k=ed25519; p=` + p[:9] + `\000` + p[9:] + `"`), false, "permerror/key_syntax"},
		{"8-bit notes", line(`"v=DKIM1; n=\255\254; k=ed25519; p=` + p + `"`), false, "pass"},

		{"no version", txt(keyName, "k=ed25519; p="+p), false, "pass"},
		{"v=DKIM2", txt(keyName, "v=DKIM2; k=ed25519; p="+p), false, "permerror/key_not_found"},
		{"v=dkim1", txt(keyName, "v=dkim1; k=ed25519; p="+p), false, "permerror/key_not_found"},
		{"v= not first", txt(keyName, "k=ed25519; v=DKIM1; p="+p), false, "permerror/key_syntax"},
		{"p= twice", with("p=AAAA"), false, "permerror/key_syntax"},
		{"k= twice", with("k=rsa"), false, "permerror/key_syntax"},
		{"no p=", txt(keyName, "v=DKIM1; k=ed25519"), false, "permerror/key_syntax"},
		{"empty pieces", with(";;"), false, "pass"},
		{"revoked", txt(keyName, "v=DKIM1; k=ed25519; p="), false, "permerror/key_revoked"},
		{"revoked with spaces", txt(keyName, "v=DKIM1; k=ed25519; p=   "), false, "permerror/key_revoked"},
		{"p= no base64", txt(keyName, "v=DKIM1; k=ed25519; p=!!!"), false, "permerror/key_syntax"},

		{"k= of another algorithm", txt(keyName, "v=DKIM1; k=rsa; p="+b64(der)), false, "permerror/key_type"},
		{"k= left out: rsa", txt(keyName, "v=DKIM1; p="+p), false, "permerror/key_syntax"},
		{"k= unknown", txt(keyName, "v=DKIM1; k=dsa; p="+p), false, "permerror/key_type"},
		{"k= empty", txt(keyName, "v=DKIM1; k=; p="+p), false, "permerror/key_type"},
		{"k= in capitals", txt(keyName, "v=DKIM1; k=ED25519; p="+p), false, "pass"},
		{"h=sha1", with("h=sha1"), false, "permerror/key_hash_mismatch"},
		{"h=sha1:sha256", with("h=sha1 : sha256"), false, "pass"},
		{"h= empty", with("h="), false, "permerror/key_hash_mismatch"},
		{"h=sha2567", with("h=sha2567"), false, "permerror/key_hash_mismatch"},
		{"s=tlsrpt", with("s=tlsrpt"), false, "permerror/key_service"},
		{"s=tlsrpt:email", with("s=tlsrpt:email"), false, "pass"},
		{"s=*", with("s=*"), false, "pass"},
		{"s= empty", with("s="), false, "permerror/key_service"},
		{"t=y changes nothing", with("t=y"), false, "pass"},
		{"t=s with i= in d=", with("t=s"), false, "pass"},
		{"t=y:s", with("t=y:s"), false, "pass"},
		{"g= of RFC 4871 is history", with("g=nobody"), false, "pass"},
		{"notes of 20,000 octets", with("n=" + strings.Repeat("x", 20_000)), false, "pass"},
		{"129 tags", with(strings.TrimSuffix(unknownTags(129), "; ")), false, "permerror/key_syntax"},

		{"Ed25519 of 31 octets", edOf(raw[:31]), false, "permerror/key_syntax"},
		{"Ed25519 of 33 octets", edOf(append([]byte{0}, raw...)), false, "permerror/key_syntax"},
		{"Ed25519 as SubjectPublicKeyInfo", edOf(spki(t, bankKey().Public())), false, "permerror/key_syntax"},
		{"Ed25519 all ones", edOf([]byte(strings.Repeat("\xff", 32))), false, "fail/signature_mismatch"},
		{"RSA of 512 bits", txt(keyName, pkcs1(modulus(512), big.NewInt(65537))), true, "policy/weak_key"},
		{"RSA of 1023 bits", txt(keyName, pkcs1(modulus(1023), big.NewInt(65537))), true, "policy/weak_key"},
		{"RSA of 1024 bits", txt(keyName, pkcs1(modulus(1024), big.NewInt(65537))), true, "fail/signature_mismatch"},
		{"RSA of 8192 bits", txt(keyName, pkcs1(modulus(8192), big.NewInt(65537))), true, "fail/signature_mismatch"},
		{"RSA of 8193 bits", txt(keyName, pkcs1(modulus(8193), big.NewInt(65537))), true, "policy/large_key"},
		{"RSA of 16,384 bits", txt(keyName, pkcs1(modulus(16_384), big.NewInt(65537))), true, "policy/large_key"},
		{"RSA of 150,000 bits", txt(keyName, pkcs1(modulus(150_000), big.NewInt(65537))), true, "policy/large_key"},
		{"RSA of 380,000 bits does not fit an answer", txt(keyName, pkcs1(modulus(380_000), big.NewInt(65537))), true, "permerror/dns_too_large"},
		{"DER cut", rsaOf(der[:len(der)-9]), true, "permerror/key_syntax"},
		{"DER with more behind it", rsaOf(append(append([]byte{}, der...), 0, 0)), true, "permerror/key_syntax"},
		{"DER of another kind of key", rsaOf(spki(t, &ecKey.PublicKey)), true, "permerror/key_syntax"},
		{"DER of an endless length", rsaOf([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1}), true, "permerror/key_syntax"},
		{"DER of indefinite length", rsaOf([]byte{0x30, 0x80, 0, 0}), true, "permerror/key_syntax"},
		{"10,000 sequences within each other", rsaOf([]byte(strings.Repeat("\x30\x80", 10_000))), true, "permerror/key_syntax"},
		{"an even modulus", txt(keyName, pkcs1(new(big.Int).Lsh(modulus(1024), 1024), big.NewInt(65537))), true, "permerror/key_syntax"},
		{"a negative modulus", txt(keyName, pkcs1(new(big.Int).Neg(modulus(2048)), big.NewInt(65537))), true, "permerror/key_syntax"},
		{"a modulus of 0", txt(keyName, pkcs1(new(big.Int), big.NewInt(65537))), true, "permerror/key_syntax"},
		{"the exponent 0", txt(keyName, pkcs1(modulus(2048), big.NewInt(0))), true, "permerror/key_syntax"},
		{"the exponent 2", txt(keyName, pkcs1(modulus(2048), big.NewInt(2))), true, "permerror/key_syntax"},
		{"the exponent 3", txt(keyName, pkcs1(modulus(2048), big.NewInt(3))), true, "fail/signature_mismatch"},
		{"the exponent -1", txt(keyName, pkcs1(modulus(2048), big.NewInt(-1))), true, "permerror/key_syntax"},
		{"an exponent of 33 bits: more than crypto/rsa takes", txt(keyName, pkcs1(modulus(2048), big.NewInt(1<<32+1))), true, "permerror/key_syntax"},
		{"an exponent of 65 bits", txt(keyName, pkcs1(modulus(2048), new(big.Int).SetBit(big.NewInt(1), 64, 1))), true, "permerror/key_syntax"},
		{"an exponent as long as the modulus", txt(keyName, pkcs1(modulus(2048), modulus(2048))), true, "permerror/key_syntax"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			mail := signer.DKIM(t, bankKey(), tags(""), bankMail)
			if tc.rsa {
				mail = signer.DKIM(t, bankRSA(), strings.Replace(tags(""), "ed25519", "rsa", 1), bankMail)
			}
			expectDKIM(t, r.send(t, shot{zone: tc.zone, raw: mail}), tc.want)
		})
	}
}

// other2 returns n key records that do not hold the bank's key. These records are all different,
// because equal records count as one.
func other2(n int) string {
	var b strings.Builder
	for i := range n {
		seed := []byte("another key, number 0, of 32 oct")
		seed[20] += byte(i)
		b.WriteString(txt(keyName, edRecord(ed25519.NewKeyFromSeed(seed))))
	}
	return b.String()
}

// TestDKIMKeyless uses weak public keys, for which anybody can make signatures without a private
// key. The result must be policy/weak_key.
func TestDKIMKeyless(t *testing.T) {
	r := newRig(t, "", nil)
	one := &rsa.PublicKey{N: modulus(2048), E: 1}
	g := r.send(t, shot{
		zone: txt(keyName, pkcs1(one.N, big.NewInt(1))),
		raw:  signer.DKIM(t, forger{one, padded}, strings.Replace(tags(""), "ed25519", "rsa", 1), bankMail),
	})
	expectDKIM(t, g, "policy/weak_key")
	for why, point := range map[string]string{
		"order 1":                            "0100000000000000000000000000000000000000000000000000000000000000",
		"order 1, sign bit":                  "0100000000000000000000000000000000000000000000000000000000000080",
		"order 1, not reduced":               "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 2":                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                            "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, not reduced":               "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4, sign bit":                  "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8":                            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, the other y, its sign bit": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	} {
		t.Run(why, func(t *testing.T) {
			pub, err := hex.DecodeString(point)
			if err != nil {
				t.Fatal(err)
			}
			// The signature consists of R, here the neutral point, and S, here 0. It is valid if
			// the hash is a multiple of the order of the key.
			sig := make([]byte, 64)
			sig[0] = 1
			f := forger{ed25519.PublicKey(pub), func([]byte) []byte { return sig }}
			for range 8 {
				mail := signer.DKIM(t, f, tags(""), bankMail)
				expectDKIM(t, r.send(t, shot{zone: txt(keyName, "v=DKIM1; k=ed25519; p="+b64(pub)), raw: mail}), "policy/weak_key")
			}
		})
	}
}
