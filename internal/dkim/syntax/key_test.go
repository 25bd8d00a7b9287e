package syntax

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/taglist"
	"sekimori/internal/testkit/signer"
)

func edKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the test's key of thirty-two oct"))
}

func TestParseKey(t *testing.T) {
	rsaKey := signer.PublicRSA(2048, 65537)
	rsaRecord := signer.Record(rsaKey)
	rsaP := strings.TrimPrefix(rsaRecord, "v=DKIM1; k=rsa; ")
	edP := strings.TrimPrefix(signer.Record(edKey().Public()), "v=DKIM1; k=ed25519; ")
	pkcs1 := "p=" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(rsaKey))
	sha256RSA := &Params{Algorithm: RSASHA256, Domain: "example.com", IdentityDomain: "example.com"}
	for _, tc := range []struct {
		why, txt string
		use      *Params
		parse    Fault // the error of ParseKey, or "" if it succeeds
		check    Fault // the error of Key.Check, or "" if it succeeds
	}{
		{"p= alone is a record: all else has defaults", rsaP, sha256RSA, "", ""},
		{"the usual record", "v=DKIM1; k=rsa; " + rsaP, sha256RSA, "", ""},
		{"a bare RSAPublicKey, as RFC 6376 §3.6.1 has it", "v=DKIM1; " + pkcs1, sha256RSA, "", ""},
		{"white space in p=", "v=DKIM1;p=" + rsaP[2:50] + " \t" + rsaP[50:] + ";", sha256RSA, "", ""},
		{"no padding in p=", "v=DKIM1; " + strings.TrimRight(edP, "=") + "; k=ed25519", &Params{Algorithm: Ed25519SHA256}, "", ""},
		{"double semicolons, a slip in zone files", "v=DKIM1;; k=rsa; " + rsaP + ";;", sha256RSA, "", ""},
		{"unknown tags, g= and n= are ignored", "v=DKIM1; g=nobody; n=a note; foo=bar; " + rsaP, sha256RSA, "", ""},
		{"v= of another version is not a key, RFC 6376 §3.6.1", "v=DKIM2; " + rsaP, sha256RSA, FaultNotKey, ""},
		{"v= compares with case", "v=dkim1; " + rsaP, sha256RSA, FaultNotKey, ""},
		{"v= must be first", "k=rsa; v=DKIM1; " + rsaP, sha256RSA, FaultKeySyntax, ""},
		{"an SPF record by a wildcard", "v=spf1 -all", sha256RSA, FaultNotKey, ""},
		{"any text by a wildcard", "hello world", sha256RSA, FaultNotKey, ""},
		{"nothing", "", sha256RSA, FaultNotKey, ""},
		{"tags but no p= and no v=", "k=rsa; t=y", sha256RSA, FaultNotKey, ""},
		{"no p=", "v=DKIM1; k=rsa", sha256RSA, FaultKeySyntax, ""},
		{"a duplicate tag", "v=DKIM1; k=rsa; k=rsa; " + rsaP, sha256RSA, FaultKeySyntax, ""},
		{"an empty p= revokes", "v=DKIM1; p=", sha256RSA, "", FaultKeyRevoked},
		{"p= that is not base64", "v=DKIM1; p=!!!!", sha256RSA, FaultKeySyntax, ""},
		{"p= that is not a key", "v=DKIM1; p=QUJDREVG", sha256RSA, FaultKeySyntax, ""},
		{"p= cut short", "v=DKIM1; " + rsaP[:len(rsaP)-8], sha256RSA, FaultKeySyntax, ""},
		{"an Ed25519 key, RFC 8463", "v=DKIM1; k=ed25519; " + edP, &Params{Algorithm: Ed25519SHA256}, "", ""},
		{"an Ed25519 key of another length", "v=DKIM1; k=ed25519; p=QUJD", &Params{Algorithm: Ed25519SHA256}, FaultKeySyntax, ""},
		{"an Ed25519 key for an RSA signature", "v=DKIM1; k=ed25519; " + edP, sha256RSA, "", FaultKeyType},
		{"an RSA key for an Ed25519 signature", "v=DKIM1; " + rsaP, &Params{Algorithm: Ed25519SHA256}, "", FaultKeyType},
		{"an unknown key type", "v=DKIM1; k=dsa; p=QUJD", sha256RSA, "", FaultKeyType},
		{"h= that has sha256", "v=DKIM1; h=sha1 : sha256; " + rsaP, sha256RSA, "", ""},
		{"h= without sha256", "v=DKIM1; h=sha1; " + rsaP, sha256RSA, "", FaultKeyHash},
		{"s=email", "v=DKIM1; s=foo:email; " + rsaP, sha256RSA, "", ""},
		{"s=*", "v=DKIM1; s=*; " + rsaP, sha256RSA, "", ""},
		{"s= for something else", "v=DKIM1; s=tlsrpt; " + rsaP, sha256RSA, "", FaultKeyService},
		{"t=s and i= in d= itself", "v=DKIM1; t=y:s; " + rsaP, sha256RSA, "", ""},
		{"t=s and i= in a subdomain", "v=DKIM1; t=y:s; " + rsaP,
			&Params{Algorithm: RSASHA256, Domain: "example.com", IdentityDomain: "news.example.com"}, "", FaultStrictIdentity},
		{"t=y and i= in a subdomain", "v=DKIM1; t=y; " + rsaP,
			&Params{Algorithm: RSASHA256, Domain: "example.com", IdentityDomain: "news.example.com"}, "", ""},
		{"an even exponent", signer.Record(signer.PublicRSA(2048, 4)), sha256RSA, FaultKeySyntax, ""},
	} {
		key, err := ParseKey(tc.txt)
		if got := faultOf(err); got != tc.parse {
			t.Errorf("%s: ParseKey %v, want %q", tc.why, err, tc.parse)
			continue
		}
		if err != nil {
			continue
		}
		if got := faultOf(key.Check(tc.use)); got != tc.check {
			t.Errorf("%s: Check %q, want %q", tc.why, got, tc.check)
		}
		if tc.check == "" && key.Bits == 0 {
			t.Errorf("%s: usable, but of no size", tc.why)
		}
	}
}

func faultOf(err *Error) Fault {
	if err == nil {
		return ""
	}
	return err.Fault
}

func TestEvenModulus(t *testing.T) {
	pub := signer.PublicRSA(2048, 65537)
	pub.N.Add(pub.N, big.NewInt(1))
	if _, err := ParseKey(signer.Record(pub)); faultOf(err) != FaultKeySyntax {
		t.Errorf("even modulus: %v", err)
	}
}

// readKey reads a key record as a person does, without a look at p= and at mistakes.
func readKey(txt string) (k Key, version string, p string) {
	const space = " \t\r\n"
	k = Key{Type: keyRSA, sha256: true, email: true}
	for i, tag := range slices.DeleteFunc(strings.Split(txt, ";"), func(s string) bool { return strings.Trim(s, space) == "" }) {
		name, value, _ := strings.Cut(tag, "=")
		value = strings.Trim(value, space)
		has := func(word string) bool {
			for _, item := range strings.Split(strings.ToLower(value), ":") {
				if strings.Trim(item, space) == word {
					return true
				}
			}
			return false
		}
		switch strings.Trim(name, space) {
		case "v":
			version = fmt.Sprintf("%d %s", i, value)
		case "k":
			k.Type = strings.ToLower(value)
		case "h":
			k.sha256 = has("sha256")
		case "s":
			k.email = has("email") || has("*")
		case "t":
			k.Testing, k.Strict = has("y"), has("s")
		case "p":
			p = value
		}
	}
	k.revoked = p == ""
	return k, version, p
}

// checkKey compares a record that ParseKey accepts with what a person reads.
func checkKey(t *testing.T, txt string) {
	t.Helper()
	got, err := ParseKey(txt)
	if err != nil {
		return
	}
	want, version, p := readKey(txt)
	if version != "" && version != "0 DKIM1" {
		t.Errorf("%q is a key with the version %s", txt, version)
	}
	known := want.Type == keyRSA || want.Type == keyEd25519
	if (got.Bits > 0) != (p != "" && known) || (got.Public != nil) != (got.Bits > 0) {
		t.Errorf("%q: a key of %d bits for p=%s", txt, got.Bits, p)
	}
	for _, use := range []Params{{Algorithm: RSASHA256}, {Algorithm: Ed25519SHA256, Domain: "a.example", IdentityDomain: "x.a.example"}} {
		fits := want.email && !want.revoked && want.sha256 && want.Type == map[string]string{RSASHA256: keyRSA, Ed25519SHA256: keyEd25519}[use.Algorithm] &&
			(use.IdentityDomain == "" || !want.Strict)
		if err := got.Check(&use); (err == nil) != fits {
			t.Errorf("%q for %s: %v", txt, use.Algorithm, err)
		}
	}
	got.Bits, got.Public, got.SmallOrder = 0, nil, false
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: %+v, want %+v", txt, got, want)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{
		"v=DKIM1; p=", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "v=spf1 -all", ";;",
		"v=DKIM1; p=MIGJAoGBALVI635dLK4cJJAH3Lx6upo3X/Lm1tQz3mezcWTA3BUBnyIsdnRf57aD5BtNmhPrYYDlWlzw3Ugn" +
			"KisIxktkk5+iMQMlFtAS10JB8L3YadXNJY+JBcbeSi5TgJe4WFzNgW95FWDAuSTRXSWZfA/8xjflbTLDx0euFZOM7C4T0GwLAgMBAAE=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, txt string) {
		checkKey(t, txt)
		key, err := ParseKey(txt)
		if err != nil {
			if err.Fault != FaultKeySyntax && err.Fault != FaultNotKey {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, a := range []string{RSASHA256, Ed25519SHA256} {
			if key.Check(&Params{Algorithm: a}) == nil && (key.Bits == 0 || key.Public == nil) {
				t.Fatalf("%q is usable without a key", txt)
			}
		}
	})
}

// TestKeyTags checks when a record counts as one of DKIM, and that a record without tags is an error.
func TestKeyTags(t *testing.T) {
	for txt, want := range map[string]struct {
		version bool
		err     error
	}{
		"v=DKIM1; p=":     {true, nil},
		"p=; v=DKIM1":     {true, nil},
		"p=":              {false, nil},
		"v=DKIM2; p=":     {false, nil},
		"v=dkim1; p=":     {false, nil},
		"n=DKIM1; p=":     {false, nil},
		";; p=;":          {false, nil},
		"":                {false, taglist.ErrEmpty},
		";;":              {false, taglist.ErrEmpty},
		"v=DKIM1; p; p=":  {true, taglist.ErrNoValue},
		"v=DKIM1; v=x":    {true, taglist.ErrDuplicate},
		"p=; p=; v=DKIM1": {false, taglist.ErrDuplicate},
	} {
		list, version, err := keyTags(txt)
		if version != want.version || !errors.Is(err, want.err) || (len(list) == 0) != (want.err != nil) {
			t.Errorf("%q: %v, version %t, %v", txt, list, version, err)
		}
	}
}

// TestSmallOrder checks each point of small order in each encoding, with and without the sign bit of x.
func TestSmallOrder(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	order8, _ := new(big.Int).SetString(order8Y, 16)
	for _, y := range []*big.Int{
		new(big.Int), big.NewInt(1), order8, new(big.Int).Sub(p, order8), new(big.Int).Sub(p, big.NewInt(1)), p, new(big.Int).Add(p, big.NewInt(1)),
	} {
		for _, sign := range []byte{0, 0x80} {
			le := y.FillBytes(make([]byte, 32))
			slices.Reverse(le)
			le[31] |= sign
			if !smallOrder(le) {
				t.Errorf("%x counts as honest", le)
			}
			le[0] ^= 4
			if smallOrder(le) {
				t.Errorf("%x counts as small", le)
			}
		}
	}
}
