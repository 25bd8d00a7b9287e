package arc

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/dns/dnstest"
)

// A sealer for the tests, written plainly from RFC 6376 §3.4 and RFC 8617
// §5.1, without the code under test.

var (
	refWSP  = regexp.MustCompile(`[ \t]+`)
	refFold = regexp.MustCompile(`\r\n([ \t])`)
)

func refField(name, value string) string {
	value = refWSP.ReplaceAllString(refFold.ReplaceAllString(value, "$1"), " ")
	return strings.ToLower(name) + ":" + strings.Trim(value, " ")
}

func refBody(body string) string {
	lines := strings.Split(body, "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(refWSP.ReplaceAllString(l, " "), " ")
	}
	body = strings.TrimRight(strings.Join(lines, "\r\n"), "\r\n")
	if body == "" {
		return ""
	}
	return body + "\r\n"
}

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the test's key of thirty-two oct"))
}

func keyRecord() dns.Record {
	return dns.Record{Text: "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(testKey().Public().(ed25519.PublicKey))}
}

// zone has the key of every sealer.
func zone() *dnstest.Zone {
	z := dnstest.New()
	for i := range maxSets + 2 {
		z.Add(dns.Name(fmt.Sprintf("s._domainkey.hop%d.example", i)), dns.TypeTXT, keyRecord())
	}
	return z
}

// set to add to a message; zero values are what an honest sealer writes.
type sealing struct {
	i        int
	cv       string // "none" or "pass"
	results  string
	h        string // of the message signature
	message  string // more tags of the message signature
	seal     string // more tags of the seal
	breakAMS bool
	breakAS  bool
}

func sign(input string) string {
	sum := sha256.Sum256([]byte(input))
	sig, err := testKey().Sign(nil, sum[:], crypto.Hash(0))
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// seal puts a set on top of a message.
func seal(tb testing.TB, s sealing, eml string) string {
	tb.Helper()
	h, body := splitMessage([]byte(eml))
	if s.cv == "" {
		s.cv = map[bool]string{true: "none", false: "pass"}[s.i == 1]
	}
	if s.results == "" {
		s.results = "mx.example; spf=pass smtp.mailfrom=a@example.com"
	}
	if s.h == "" {
		s.h = "from:subject"
	}
	aar := fmt.Sprintf(" i=%d; %s", s.i, s.results)
	sum := sha256.Sum256([]byte(refBody(string(body))))
	ams := fmt.Sprintf(" i=%d; a=ed25519-sha256; c=relaxed/relaxed; d=hop%d.example; s=s;\r\n h=%s; bh=%s;%s b=",
		s.i, s.i, s.h, base64.StdEncoding.EncodeToString(sum[:]), s.message)
	var input strings.Builder
	for _, name := range strings.Split(s.h, ":") {
		for j := len(h) - 1; j >= 0; j-- {
			if strings.EqualFold(h[j].Name, name) {
				input.WriteString(refField(name, h[j].Value) + "\r\n")
				break
			}
		}
	}
	sig := sign(input.String() + refField("arc-message-signature", ams))
	if s.breakAMS {
		sig = sign("something else")
	}
	ams += sig
	as := fmt.Sprintf(" i=%d; a=ed25519-sha256; cv=%s; d=hop%d.example; s=s;\r\n\t%s b=", s.i, s.cv, s.i, s.seal)
	input.Reset()
	for i := 1; i < s.i; i++ {
		for _, name := range []string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"} {
			for _, f := range h {
				if strings.EqualFold(f.Name, name) && strings.HasPrefix(f.Value, fmt.Sprintf(" i=%d;", i)) {
					input.WriteString(refField(name, f.Value) + "\r\n")
				}
			}
		}
	}
	input.WriteString(refField("arc-authentication-results", aar) + "\r\n" + refField("arc-message-signature", ams) + "\r\n")
	sig = sign(input.String() + refField("arc-seal", as))
	if s.breakAS {
		sig = sign("something else")
	}
	return "ARC-Seal:" + as + sig + "\r\nARC-Message-Signature:" + ams + "\r\nARC-Authentication-Results:" + aar + "\r\n" + eml
}

// chain seals a message n times.
func chain(tb testing.TB, n int, eml string) string {
	for i := 1; i <= n; i++ {
		eml = seal(tb, sealing{i: i}, eml)
	}
	return eml
}

const testMail = "From: Ann <ann@example.com>\r\nSubject: a test\r\n\r\nHello  there.\r\n\r\n"
