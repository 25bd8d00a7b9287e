package demo

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
)

// Addresses of the demo's clients, from the documentation ranges (RFC 5737).
const (
	bankHost    = "192.0.2.10"   // is allowed to send for bank.example and news.example
	shopHost    = "192.0.2.20"   // is allowed to send for shop.example
	listHost    = "198.51.100.7" // a mailing list server
	strangeHost = "203.0.113.66" // is not allowed to send for any of the domains
)

// zoneText has the records of the demo's domains. The DKIM keys of the domains are put in place of
// the three %s.
const zoneText = `
; bank.example: everything published, p=reject
bank.example               TXT "v=spf1 ip4:192.0.2.10 -all"
_dmarc.bank.example        TXT "v=DMARC1; p=reject; np=reject; rua=mailto:dmarc@bank.example"
s1._domainkey.bank.example TXT %s
mail.bank.example          A   192.0.2.10
bank.example               MX  10 mail.bank.example.
10.2.0.192.in-addr.arpa    PTR mail.bank.example.

; news.example: two keys, the new one ed25519
_dmarc.news.example          TXT "v=DMARC1; p=reject; adkim=s"
rsa._domainkey.news.example  TXT %s
ed._domainkey.news.example   TXT %s

; shop.example: p=quarantine; test.example: p=reject in test mode
shop.example        TXT "v=spf1 a:mx.shop.example -all"
mx.shop.example     A   192.0.2.20
20.2.0.192.in-addr.arpa PTR mx.shop.example.
_dmarc.shop.example TXT "v=DMARC1; p=quarantine"
_dmarc.test.example TXT "v=DMARC1; p=reject; t=y"

; hobby.example: p=none; old.example: no DMARC
_dmarc.hobby.example TXT "v=DMARC1; p=none"
old.example          TXT "v=spf1 mx ~all"
old.example          MX  10 mail.old.example.
mail.old.example     A   192.0.2.40
40.2.0.192.in-addr.arpa PTR mail.old.example.

; lists.example: a mailing list
lists.example              TXT "v=spf1 ip4:198.51.100.7 -all"
mail.lists.example         A   198.51.100.7
7.100.51.198.in-addr.arpa  PTR mail.lists.example.
mail.lists.example         TXT "v=spf1 a -all"

; slow.example: its servers never answer
! slow.example * timeout
! _dmarc.slow.example * timeout
! s1._domainkey.slow.example * timeout
`

// keys are the signing keys of the demo's domains.
type keys struct {
	bank, newsRSA *rsa.PrivateKey
	newsEd        ed25519.PrivateKey
}

func generateKeys() (*keys, error) {
	const bits = 2048
	var k keys
	var err error
	if k.bank, err = rsa.GenerateKey(rand.Reader, bits); err != nil {
		return nil, fmt.Errorf("demo: generate key: %w", err)
	}
	if k.newsRSA, err = rsa.GenerateKey(rand.Reader, bits); err != nil {
		return nil, fmt.Errorf("demo: generate key: %w", err)
	}
	if _, k.newsEd, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("demo: generate key: %w", err)
	}
	return &k, nil
}

// zone returns zoneText with the public keys in place of the %s.
func (k *keys) zone() (string, error) {
	bank, err := rsaRecord(&k.bank.PublicKey)
	if err != nil {
		return "", err
	}
	news, err := rsaRecord(&k.newsRSA.PublicKey)
	if err != nil {
		return "", err
	}
	ed := txt("v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(k.newsEd.Public().(ed25519.PublicKey)))
	return fmt.Sprintf(zoneText, bank, news, ed), nil
}

func rsaRecord(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("demo: public key: %w", err)
	}
	return txt("v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)), nil
}

// txt splits a TXT value into character-strings of at most 255 octets (RFC 1035 §3.3.14).
func txt(value string) string {
	var parts []string
	for len(value) > 255 {
		parts = append(parts, `"`+value[:255]+`"`)
		value = value[255:]
	}
	return strings.Join(append(parts, `"`+value+`"`), " ")
}
