package attack

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"sync"

	"sekimori/internal/testkit/signer"
)

// tags returns the tags of an honest signature by the bank. The text "more" is inserted before bh=.
func tags(more string) string {
	return "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s; h=from:subject; " + more + "bh=%BH; b="
}

// bankKey returns the private key of the bank, which the attacker does not have.
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

// edRecord returns the key record for the public half of an Ed25519 key.
func edRecord(key ed25519.PrivateKey) string { return signer.Record(key.Public()) }

// txt returns a TXT record as a line of zone text.
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

// bankKeyZone returns zone text that publishes the bank's key.
func bankKeyZone() string { return txt("s._domainkey.bank.example", edRecord(bankKey())) }

const bankMail = "From: Ann <ann@bank.example>\r\nTo: r@here.example\r\nSubject: hello\r\n\r\nHello  there.\r\n"

// insert puts the given field above the first line of eml that begins with the text "before". That
// line must not be the first line of eml.
func insert(eml, field, before string) string {
	return strings.Replace(eml, "\r\n"+before, "\r\n"+field+"\r\n"+before, 1)
}
