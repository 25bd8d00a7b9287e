package attack

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"regexp"
	"sekimori/internal/testkit/signer"
	"strings"
	"sync"
	"testing"
)

// The attackers sign what a correct signer would refuse to.

var (
	rigH = regexp.MustCompile(`(?:^|;)\s*h=([^;]*)`)
	rigL = regexp.MustCompile(`(?:^|;)\s*l=(\d{1,9});`)
)

// tags are those of an honest signature of the bank; more goes in before bh=.
func tags(more string) string {
	return "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s; h=from:subject; " + more + "bh=%BH; b="
}

// signWith puts a signature on top. tags are a whole field but for the value
// of b= at its end, %BH stands for the body's hash; h= and l= are heeded.
func signWith(t testing.TB, key crypto.Signer, tags, eml string) string {
	t.Helper()
	h, raw := signer.Split([]byte(eml))
	body := signer.Body(string(raw))
	if m := rigL.FindStringSubmatch(tags); m != nil {
		n := 0
		for _, c := range m[1] {
			n = 10*n + int(c-'0')
		}
		body = body[:min(n, len(body))]
	}
	value := " " + strings.Replace(tags, "%BH", signer.BodyHash(body), 1)
	names := ""
	if m := rigH.FindStringSubmatch(tags); m != nil {
		names = m[1]
	}
	return "DKIM-Signature:" + value + signer.Sign(t, key, signer.Selected(h, names)+signer.Field("DKIM-Signature", value)) + "\r\n" + eml
}

// bankKey is the bank's private key; nobody else has it.
func bankKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the bank's key of thirty-two oct"))
}

func evilKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the evil key of thirty-two octet"))
}

var bankRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// edRecord is the key record for an Ed25519 key.
func edRecord(key ed25519.PrivateKey) string { return signer.Record(key.Public()) }

// txt is a line of zone text.
func txt(name, text string) string {
	var b strings.Builder
	b.WriteString(name + " TXT")
	for first := true; first || text != ""; first = false {
		n := min(len(text), 255)
		b.WriteString(` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text[:n]) + `"`)
		text = text[n:]
	}
	return b.String() + "\n"
}

// bankKeyZone publishes the bank's key.
func bankKeyZone() string { return txt("s._domainkey.bank.example", edRecord(bankKey())) }

const bankMail = "From: Ann <ann@bank.example>\r\nTo: r@here.example\r\nSubject: hello\r\n\r\nHello  there.\r\n"

// insert puts a field in front of the one that begins with before.
func insert(eml, field, before string) string {
	return strings.Replace(eml, "\r\n"+before, "\r\n"+field+"\r\n"+before, 1)
}
