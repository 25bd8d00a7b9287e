package sign

import (
	"context"
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
	"testing/iotest"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/signer"
)

const mail = "From: \"Example ISP\" <noreply@dmarc.isp.example>\r\nTo: <rua@shop.example>\r\nSubject: Report Domain: shop.example\r\n Submitter: dmarc.isp.example\r\n" +
	"Date: Sun, 29 Nov 2026 03:05:06 +0000\r\nMessage-ID: <1@isp.example>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n--=_x\r\nContent-Type: text/plain\r\n\r\nText\r\n--=_x--\r\n"

// keys returns one key of each kind, with the text of its file.
func keys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"RSA": big, "Ed25519": ed}
}

// verified returns the result of our own verifier.
func verified(t *testing.T, raw string, key crypto.Signer) dkim.Signature {
	t.Helper()
	record, err := KeyRecord(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	z := zone.New().Add("r1._domainkey.dmarc.isp.example", dns.TypeTXT, dns.Record{Text: record})
	h, body := signer.Split([]byte(raw))
	v := dkim.NewVerifier(h, dkim.Options{})
	defer v.Close()
	v.Start(context.Background(), z)
	if _, err := v.Write(body); err != nil {
		t.Fatal(err)
	}
	all := v.Finish(context.Background())
	if len(all) != 1 {
		t.Fatalf("%d signatures", len(all))
	}
	return all[0]
}

func TestSign(t *testing.T) {
	for kind, key := range keys(t) {
		field, err := Signature("dmarc.isp.example", "r1", key, strings.NewReader(mail))
		if err != nil || !strings.HasSuffix(field, "\r\n") || !strings.HasPrefix(field, "DKIM-Signature:") {
			t.Fatalf("%s: %q, %v", kind, field, err)
		}
		raw := field + mail
		s := verified(t, raw, key)
		if s.Result != dkim.Pass || s.Domain != "dmarc.isp.example" || s.Selector != "r1" || s.Canonicalization != "relaxed/relaxed" || s.BodyLength != nil {
			t.Errorf("%s: %+v", kind, s)
		}
		for line := range strings.SplitSeq(raw, "\r\n") {
			if len(line) > 998 {
				t.Errorf("%s: line of %d octets", kind, len(line))
			}
		}
		// What a list or an attacker would change must break the signature.
		for _, field := range []string{"From: x@evil.example", "To: x@evil.example", "Subject: x", "Date: x", "Message-ID: <x@y>", "Auto-Submitted: no", "MIME-Version: 1.0",
			"Content-Type: text/plain", "Content-Transfer-Encoding: base64", "Cc: x@evil.example", "Reply-To: x@evil.example", "Sender: x@evil.example"} {
			if s := verified(t, field+"\r\n"+raw, key); s.Result == dkim.Pass {
				t.Errorf("%s with %s: %s", kind, field, s.Result)
			}
		}
		if s := verified(t, strings.Replace(raw, "Text", "Test", 1), key); s.Result != dkim.Fail {
			t.Errorf("%s with another body: %s", kind, s.Result)
		}
		if s := verified(t, strings.Replace(raw, "\r\n Submitter", " Submitter", 1), key); s.Result != dkim.Pass {
			t.Errorf("%s with another folding: %s", kind, s.Result)
		}
	}
}

func TestSignatureFails(t *testing.T) {
	key := keys(t)["Ed25519"]
	broken := errors.New("disk gone")
	if _, err := Signature("isp.example", "r1", key, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("broken reader: %v", err)
	}
	if _, err := Signature("", "r1", key, strings.NewReader(mail)); err == nil {
		t.Error("no domain is no error")
	}
	if _, err := Signature("isp.example", "r1", key, strings.NewReader("no header")); err == nil {
		t.Error("no header is no error")
	}
}

func TestParseKey(t *testing.T) {
	all := keys(t)
	file := func(kind string, der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return file("PRIVATE KEY", der, err)
	}
	rsaKey := all["RSA"].(*rsa.PrivateKey)
	for why, text := range map[string][]byte{"RSA": pkcs8(rsaKey), "Ed25519": pkcs8(all["Ed25519"])} {
		key, err := ParseKey(text)
		if err != nil || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(all[why].Public()) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if key, err := ParseKey(file("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil)); err != nil || !rsaKey.Equal(key) {
		t.Errorf("PKCS #1: %v", err)
	}
	for why, text := range map[string][]byte{"nothing": nil, "no PEM": []byte("secret"), "another kind": file("CERTIFICATE", []byte{1}, nil),
		"broken PKCS #8": file("PRIVATE KEY", []byte("secret"), nil), "broken PKCS #1": file("RSA PRIVATE KEY", []byte("secret"), nil), "an ECDSA key": ecdsaKey(t)} {
		if _, err := ParseKey(text); !errors.Is(err, ErrKey) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", why, err)
		}
	}
	if _, err := ParseKey([]byte(small)); err == nil || errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "768 bits") {
		t.Errorf("768 bits: %v", err)
	}
}

// small is a key that was made for this test. Go makes no keys of this size.
const small = `-----BEGIN RSA PRIVATE KEY-----
MIIBywIBAAJhAOmM9t8Mwz/+W3umwdJlx/PDQbRRcCbMNtSqKbfinLcpv0jAtIoK
zBbC4jVWPWxDUqheQn2nguTgOoPyveVZL1G0RUGTw+yD3wiuIf0PheXhO5WPk7QJ
KEsYw5uJDxcC3QIDAQABAmAjiWN3BQYgkp9w7SrIzNvj523z9gBOpvwg19OJO14F
MMD+XPQbnRD41aZ93yVxd7ytnADif/N5USfNwBaDPrcIlyZluswm1flh0MEyzXcz
EkEjmpXjDr2zlpK/GJSqxzECMQD5x+CG/EqR0yx7fTTjIWLu4gjOpLjAWktVxDu4
nOs6hs29PMgVTWswgKu9Zh+Ji38CMQDvXaKXqVIrS3XGiVjdhul25FXKSkjYhSsr
Gxy0ACisIy2D0ZOCrvxm/JB7kt8JT6MCMQCL6aAlPJDwmh9ilMHZMExgjxBr3+z1
Ih7szdy+Dnfc8sGv7KoO9KzEIG8Sym+D9jUCMQC+C0ipQxzjFPF4ZNnyYEgCRj26
84mspuZkPg1m+G1SZkefzghhDI+HMOWBx1VfriMCMHwt8M6K1kfyflVE3VPoPRHJ
JcH6ek1fOMYUfd0KVzF19uCxbf/PV0+8DIzHEhq8Cw==
-----END RSA PRIVATE KEY-----
`

func ecdsaKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
