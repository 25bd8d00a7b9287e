package e2e

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
)

// keys holds the private keys that sign the test messages. All domains of the zone use the same RSA
// and Ed25519 keys.
type keys struct {
	rsa     *rsa.PrivateKey
	ed25519 ed25519.PrivateKey
}

func newKeys() (k keys, err error) {
	if k.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return k, err
	}
	_, k.ed25519, err = ed25519.GenerateKey(rand.Reader)
	return k, err
}

// records returns the DKIM key records in the format of a zone file. The RSA record is split into
// several strings.
func (k keys) records() (rsaTXT, edTXT string) {
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		panic(err) // cannot happen with an RSA key
	}
	p := base64.StdEncoding.EncodeToString(der)
	rsaTXT = fmt.Sprintf(`"v=DKIM1; k=rsa; p=%s" "%s"`, p[:200], p[200:])
	edTXT = fmt.Sprintf(`"v=DKIM1; k=ed25519; p=%s"`, base64.StdEncoding.EncodeToString(k.ed25519.Public().(ed25519.PublicKey)))
	return rsaTXT, edTXT
}

// zoneText returns the DNS zone of the tests. 192.0.2.66 is the spoofer. Its reverse name resolves
// to this address again, and the SPF records of the domains do not permit it.
func zoneText(k keys) string {
	rsaTXT, edTXT := k.records()
	reverse := string(dns.ReverseName(netip.MustParseAddr(sixMX.addr)))
	return strings.NewReplacer("RSAKEY", rsaTXT, "EDKEY", edTXT, "SIXREVERSE", reverse).Replace(`
; signs everything, with two keys; p=reject
news.example                  A    192.0.2.1
news.example                  TXT  "v=spf1 ip4:192.0.2.1 -all"
_dmarc.news.example           TXT  "v=DMARC1; p=reject"
s1._domainkey.news.example    TXT  RSAKEY
e1._domainkey.news.example    TXT  EDKEY
s2._domainkey.news.example    TXT  RSAKEY
! s2._domainkey.news.example  TXT  truncate
mail.news.example             A    192.0.2.1
mail.news.example             AAAA 2001:db8::1
1.2.0.192.in-addr.arpa        PTR  mail.news.example.

; authenticates by SPF alone; p=reject
bank.example                  A    192.0.2.10
bank.example                  TXT  "v=spf1 ip4:192.0.2.10 -all"
_dmarc.bank.example           TXT  "v=DMARC1; p=reject"
mail.bank.example             A    192.0.2.10
10.2.0.192.in-addr.arpa       PTR  mail.bank.example.

shop.example                  A    192.0.2.20
shop.example                  TXT  "v=spf1 ip4:192.0.2.20 -all"
_dmarc.shop.example           TXT  "v=DMARC1; p=quarantine"

club.example                  A    192.0.2.30
club.example                  TXT  "v=spf1 ip4:192.0.2.30 -all"
_dmarc.club.example           TXT  "v=DMARC1; p=none"

; publishes nothing at all
plain.example                 A    192.0.2.40

; SPF, but no DMARC
old.example                   A    192.0.2.50
old.example                   TXT  "v=spf1 ip4:192.0.2.50 -all"

; IPv6 only
six.example                   AAAA 2001:db8::25
six.example                   TXT  "v=spf1 ip6:2001:db8::25 -all"
_dmarc.six.example            TXT  "v=DMARC1; p=reject"
mail.six.example              AAAA 2001:db8::25
SIXREVERSE                    PTR  mail.six.example.

; its bounces have the null sender, so SPF checks the HELO name
bounce.example                A    192.0.2.60
_dmarc.bounce.example         TXT  "v=DMARC1; p=reject"
mail.bounce.example           A    192.0.2.60
mail.bounce.example           TXT  "v=spf1 a -all"
60.2.0.192.in-addr.arpa       PTR  mail.bounce.example.

; lookups of its SPF record, DMARC policy and DKIM key fail with SERVFAIL
lost.example                  A    192.0.2.70
! lost.example                TXT  servfail
! _dmarc.lost.example         TXT  servfail
! s1._domainkey.lost.example  TXT  servfail
! gone._domainkey.bank.example TXT servfail

spoof.invalid                 A    192.0.2.66
66.2.0.192.in-addr.arpa       PTR  spoof.invalid.
`)
}

func startDNS(z *zone.Zone, addr string) (*zone.Server, error) {
	return zone.NewServer(z, addr)
}

// mail describes a test message; the method bytes builds it.
type mail struct {
	from    string   // the value of From; "" leaves the field out
	extra   []string // header fields with name and value, placed before all others
	body    string   // lines end in CRLF or LF
	subject string
}

func (m mail) bytes() []byte {
	var b bytes.Buffer
	for _, field := range m.extra {
		b.WriteString(field + "\r\n")
	}
	if m.from != "" {
		fmt.Fprintf(&b, "From: %s\r\n", m.from)
	}
	if m.subject == "" {
		m.subject = "Your order"
	}
	fmt.Fprintf(&b, "To: someone@%s\r\nSubject: %s\r\n", localDomain, m.subject)
	fmt.Fprintf(&b, "Date: %s\r\nMessage-ID: <%s@test.example>\r\n\r\n", time.Now().Format(time.RFC1123Z), rand.Text())
	if m.body == "" {
		m.body = "Dear customer,\nit is on its way.\n"
	}
	b.WriteString(strings.ReplaceAll(strings.ReplaceAll(m.body, "\r\n", "\n"), "\n", "\r\n"))
	return b.Bytes()
}

// signed returns the message with one more DKIM signature at the top.
func signed(t *testing.T, message []byte, domain, selector string) []byte {
	t.Helper()
	out, err := run.keys.sign(message, domain, selector)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sign signs with the private key whose public key is published under the selector.
func (k keys) sign(message []byte, domain, selector string) ([]byte, error) {
	var canonicalization dkim.Canonicalization = dkim.CanonicalizationRelaxed
	if len(message) > 1<<20 {
		canonicalization = dkim.CanonicalizationSimple // the signing library is slow with relaxed canonicalization
	}
	var key crypto.Signer = k.rsa
	if selector == "e1" {
		key = k.ed25519
	}
	var out bytes.Buffer
	err := dkim.Sign(&out, bytes.NewReader(message), &dkim.SignOptions{
		Domain: domain, Selector: selector, Signer: key,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: canonicalization,
		HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID"},
	})
	return out.Bytes(), err
}
