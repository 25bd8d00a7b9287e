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

// keys sign the test messages. All domains of the zone share one pair.
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

// records returns the key records in master-file form, that of RSA in several
// strings.
func (k keys) records() (rsaTXT, edTXT string) {
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		panic(err) // no RSA key can cause this
	}
	p := base64.StdEncoding.EncodeToString(der)
	rsaTXT = fmt.Sprintf(`"v=DKIM1; k=rsa; p=%s" "%s"`, p[:200], p[200:])
	edTXT = fmt.Sprintf(`"v=DKIM1; k=ed25519; p=%s"`, base64.StdEncoding.EncodeToString(k.ed25519.Public().(ed25519.PublicKey)))
	return rsaTXT, edTXT
}

// zoneText is the DNS of the tests. 192.0.2.66 is the spoofer: its reverse name
// points back to it, and no domain allows it to send.
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

; its bounces have no sender, so HELO's SPF speaks for it
bounce.example                A    192.0.2.60
_dmarc.bounce.example         TXT  "v=DMARC1; p=reject"
mail.bounce.example           A    192.0.2.60
mail.bounce.example           TXT  "v=spf1 a -all"
60.2.0.192.in-addr.arpa       PTR  mail.bounce.example.

; the policy cannot be had, nor the SPF record, nor the key
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

// mail is a message to be sent.
type mail struct {
	from    string   // the value of From; "" leaves the field out
	extra   []string // further fields, each with its name, before all others
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

// signed returns message with one more signature on top.
func signed(t *testing.T, message []byte, domain, selector string) []byte {
	t.Helper()
	out, err := run.keys.sign(message, domain, selector)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sign uses the key that the selector is published with.
func (k keys) sign(message []byte, domain, selector string) ([]byte, error) {
	var canonicalization dkim.Canonicalization = dkim.CanonicalizationRelaxed
	if len(message) > 1<<20 {
		canonicalization = dkim.CanonicalizationSimple // the signer is slow at the other
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
