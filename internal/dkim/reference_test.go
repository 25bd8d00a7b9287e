package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/signer"
)

// This file has a second implementation of RFC 6376 §3.4 and §3.7, which is plain
// and slow, and a signer that uses it. The tests compare the streaming code with
// it.

var (
	refWSPRun = regexp.MustCompile(`[ \t]+`)
	refFold   = regexp.MustCompile(`\r\n([ \t])`)
)

func refBody(c syntax.Canonicalization, body string) string {
	if c == syntax.Relaxed {
		lines := strings.Split(body, "\r\n")
		for i, l := range lines {
			lines[i] = strings.TrimRight(refWSPRun.ReplaceAllString(l, " "), " ")
		}
		body = strings.Join(lines, "\r\n")
	}
	for strings.HasSuffix(body, "\r\n") {
		body = body[:len(body)-2]
	}
	if body == "" && c == syntax.Relaxed {
		return ""
	}
	return body + "\r\n"
}

func refHeader(c syntax.Canonicalization, name, value string) string {
	if c == syntax.Simple {
		return name + ":" + value
	}
	value = refFold.ReplaceAllString(value, "$1")
	value = strings.Trim(refWSPRun.ReplaceAllString(value, " "), " ")
	return strings.ToLower(strings.TrimRight(name, " \t")) + ":" + value
}

// signing describes a signature of a test. The zero value of a field means the
// usual case.
type signing struct {
	key    crypto.Signer
	domain string            // d=; "example.com" if it is empty
	c      string            // c=; "relaxed/relaxed" if it is empty
	h      string            // h=; "from:to:subject" if it is empty
	l      int               // l=; no l= if 0
	tags   map[string]string // tags that are added or replaced; "-" leaves a tag out
	extra  string            // text that is written before b=
}

// sign puts a signature on top of a CRLF message.
func sign(tb testing.TB, s signing, eml string) string {
	tb.Helper()
	h, body := signer.Split([]byte(eml))
	or := func(v, usual string) string {
		if v == "" {
			return usual
		}
		return v
	}
	canon := or(s.c, "relaxed/relaxed")
	hc, bc, _ := strings.Cut(canon, "/")
	if s.key == nil {
		s.key = rsaKey(tb)
	}
	alg := "rsa-sha256"
	if _, ok := s.key.(ed25519.PrivateKey); ok {
		alg = "ed25519-sha256"
	}
	signed := refBody(syntax.Canonicalization(bc), string(body))
	if s.l > 0 {
		signed = signed[:min(s.l, len(signed))]
		s.extra += fmt.Sprintf(" l=%d;", s.l)
	}
	var field strings.Builder
	for _, tag := range [][2]string{{"v", "1"}, {"a", alg}, {"c", canon}, {"d", or(s.domain, "example.com")}, {"s", "s1"},
		{"h", or(s.h, "from:to:subject")}, {"bh", signer.BodyHash(signed)}} {
		v, ok := s.tags[tag[0]]
		if !ok {
			v = tag[1]
		}
		if v != "-" {
			fmt.Fprintf(&field, " %s=%s;\r\n", tag[0], v)
		}
		delete(s.tags, tag[0])
	}
	for k, v := range s.tags {
		fmt.Fprintf(&field, " %s=%s;", k, v)
	}
	value := field.String() + s.extra + " b="

	var input strings.Builder
	used := map[string]int{}
	for _, name := range strings.Split(or(s.h, "from:to:subject"), ":") {
		name = strings.ToLower(strings.TrimSpace(name))
		seen := 0
		for i := len(h) - 1; i >= 0; i-- {
			if strings.ToLower(h[i].Name) != name {
				continue
			}
			if seen == used[name] {
				input.WriteString(refHeader(syntax.Canonicalization(hc), h[i].Name, h[i].Value) + "\r\n")
				used[name]++
				break
			}
			seen++
		}
	}
	input.WriteString(refHeader(syntax.Canonicalization(hc), "DKIM-Signature", value))
	return "DKIM-Signature:" + value + fold(signer.Sign(tb, s.key, input.String())) + "\r\n" + eml
}

// fold folds base64 as signers do.
func fold(s string) string {
	var parts []string
	for len(s) > 70 {
		parts = append(parts, s[:70])
		s = s[70:]
	}
	return strings.Join(append(parts, s), "\r\n\t")
}

var testRSAKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	k, err := testRSAKey()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func edKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the test's key of thirty-two oct"))
}

// zoneWith returns a zone with key records at s1._domainkey.example.com.
func zoneWith(records ...string) *zone.Zone {
	z := zone.New()
	for _, r := range records {
		z.Add("s1._domainkey.example.com", dns.TypeTXT, dns.Record{Text: r})
	}
	return z
}

const testMail = "Received: from a.example by b.example;\r\n Fri, 20 Nov 2026 10:00:00 +0900\r\n" +
	"From: Ann <ann@example.com>\r\n" +
	"To: Bob <bob@example.org>\r\n" +
	"Subject: a  test\r\n\twith folding \r\n" +
	"\r\n" +
	"Hello  Bob,\r\n\r\nthis is \t text. \r\n\r\n\r\n"
