package msgauth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/message"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

// memory is a resolver that keeps every answer, as the daemon's cache does.
type memory struct {
	dns.LookupOnly
	next  dns.Resolver
	mu    sync.Mutex
	known map[question]dns.Answer
	asked []question // questions asked of next
}

type question struct {
	name dns.Name
	typ  dns.Type
}

func newMemory(next dns.Resolver) *memory {
	return &memory{next: next, known: map[question]dns.Answer{}}
}

func (m *memory) Peek(name dns.Name, typ dns.Type) (dns.Answer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.known[question{name, typ}]
	return a, ok
}

func (m *memory) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if a, ok := m.Peek(name, typ); ok {
		return a, nil
	}
	a, err := m.next.Lookup(ctx, name, typ)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, question{name, typ})
	if err == nil {
		m.known[question{name, typ}] = a
	}
	return a, err
}

// signed returns a message of about 2 KB with a signature of example.com, and the zone with its key
// and the other records that its evaluation needs.
func signed(tb testing.TB) (zoneText string, raw []byte) {
	tb.Helper()
	return signedFor(tb, "alice@example.com")
}

// signingKey returns the key of every message of signedFor. It is made only once, because that takes long.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// signedFor is like signed, but From contains the address "author".
func signedFor(tb testing.TB, author string) (zoneText string, raw []byte) {
	tb.Helper()
	key := signingKey()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	p := base64.StdEncoding.EncodeToString(der)
	zoneText = fmt.Sprintf(`
s1._domainkey.example.com TXT "v=DKIM1; k=rsa; p=%s" "%s"
example.com               TXT "v=spf1 include:_spf.provider.example -all"
_spf.provider.example     TXT "v=spf1 ip4:203.0.113.0/26 ip4:203.0.113.64/26 ip6:2001:db8::/48 ip4:192.0.2.0/24 ~all"
_dmarc.example.com        TXT "v=DMARC1; p=reject; rua=mailto:d@example.com"
mx.example.com            TXT "v=spf1 a -all"
mx.example.com            A   192.0.2.1
1.2.0.192.in-addr.arpa    PTR mx.example.com.
`, p[:200], p[200:])
	header := "From: Alice <" + author + ">\r\nTo: Bob <bob@example.net>\r\nSubject: the station at the pass\r\n" +
		"Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
	var out bytes.Buffer
	o := dkim.SignOptions{
		Domain: "example.com", Selector: "s1", Signer: key,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	}
	if err := dkim.Sign(&out, strings.NewReader(header+strings.Repeat(strings.Repeat("x", 70)+"\r\n", 24)), &o); err != nil {
		tb.Fatal(err)
	}
	return zoneText, out.Bytes()
}

// BenchmarkWarm measures one message for which every answer is in the cache. A connection carries
// ten messages, so each message includes a tenth of the cost of a connection.
func BenchmarkWarm(b *testing.B) {
	zoneText, raw := signed(b)
	v := NewVerifier(newMemory(nameserver.Zone(b, zoneText)), Options{})
	benchmark(b, v, raw)
}

// benchmark measures one message that passes every check.
func benchmark(b *testing.B, v *Verifier, raw []byte) {
	h, body := message.Parse(raw)
	env := Envelope{MailFrom: "<a@example.com>", Recipients: []string{"<r@here.example>"}}
	b.ReportAllocs()
	var c *Connection
	for n := 0; b.Loop(); n++ {
		if n%10 == 0 {
			if c != nil {
				c.Close()
			}
			c = v.Connect(b.Context(), Session{Client: netip.MustParseAddr("192.0.2.1")})
			c.Helo("mx.example.com")
		}
		m := c.Begin(Session{}, env)
		m.EndOfHeader(h)
		_, _ = m.Write(body)
		e := m.Finish(b.Context(), env)
		m.Close()
		if e.DMARC.Result != dmarc.ResultPass || !e.DMARC.AlignedDKIM || e.MailFrom.Result != spf.Pass ||
			e.HELO.Result != spf.Pass || e.IPRev.Status != iprev.Pass {
			b.Fatalf("%+v", e)
		}
	}
	c.Close()
}
