package attack

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"regexp"
	"strings"
	"sync"
	"testing"

	"sekimori/internal/milter/client"
)

// The attackers' own signer, written plainly from RFC 6376: it signs what a
// correct signer would refuse to.

var (
	rigWSP  = regexp.MustCompile(`[ \t]+`)
	rigFold = regexp.MustCompile(`\r\n([ \t])`)
	rigH    = regexp.MustCompile(`(?:^|;)\s*h=([^;]*)`)
	rigL    = regexp.MustCompile(`(?:^|;)\s*l=(\d{1,9});`)
)

func relaxedField(name, value string) string {
	value = rigWSP.ReplaceAllString(rigFold.ReplaceAllString(value, "$1"), " ")
	return strings.ToLower(strings.TrimRight(name, " \t")) + ":" + strings.Trim(value, " ")
}

func relaxedBody(body string) string {
	lines := strings.Split(body, "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(rigWSP.ReplaceAllString(l, " "), " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// selected is the hash input of the fields that h= names, relaxed.
func selected(h []client.Field, names string) string {
	var b strings.Builder
	used := map[string]int{}
	for name := range strings.SplitSeq(names, ":") {
		name = strings.ToLower(strings.TrimSpace(name))
		skip := used[name]
		for i := len(h) - 1; i >= 0; i-- {
			if !strings.EqualFold(strings.TrimRight(h[i].Name, " \t"), name) {
				continue
			}
			if skip == 0 {
				b.WriteString(relaxedField(name, h[i].Value) + "\r\n")
				used[name]++
				break
			}
			skip--
		}
	}
	return b.String()
}

// tags are those of an honest signature of the bank; more goes in before bh=.
func tags(more string) string {
	return "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s; h=from:subject; " + more + "bh=%BH; b="
}

// signWith puts a signature on top. tags are a whole field but for the value
// of b= at its end, %BH stands for the body's hash; h= and l= are heeded.
func signWith(t testing.TB, key crypto.Signer, tags, eml string) string {
	t.Helper()
	h, body := splitRaw(eml)
	body = relaxedBody(body)
	if m := rigL.FindStringSubmatch(tags); m != nil {
		n := 0
		for _, c := range m[1] {
			n = 10*n + int(c-'0')
		}
		body = body[:min(n, len(body))]
	}
	sum := sha256.Sum256([]byte(body))
	value := " " + strings.Replace(tags, "%BH", base64.StdEncoding.EncodeToString(sum[:]), 1)
	names := ""
	if m := rigH.FindStringSubmatch(tags); m != nil {
		names = m[1]
	}
	return "DKIM-Signature:" + value + rawSign(t, key, selected(h, names)+relaxedField("dkim-signature", value)) + "\r\n" + eml
}

func rawSign(t testing.TB, key crypto.Signer, input string) string {
	t.Helper()
	hashed := sha256.Sum256([]byte(input))
	opts := crypto.SignerOpts(crypto.SHA256)
	if _, ok := key.(ed25519.PrivateKey); ok {
		opts = crypto.Hash(0)
	}
	sig, err := key.Sign(rand.Reader, hashed[:], opts)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
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
func edRecord(key ed25519.PrivateKey) string {
	return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

func rsaRecord(t testing.TB, pub *rsa.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

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
