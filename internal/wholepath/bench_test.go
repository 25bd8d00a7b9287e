package wholepath

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// benchSession sends the same message again and again on one connection, as Postfix would. The
// label of each message must contain the text "want".
func benchSession(b *testing.B, zoneText, mail, want string) {
	b.Helper()
	s := newStation(policy.Monitor)
	s.zone.p.Store(nameserver.Zone(b, saneZone()+zoneText))
	mta, closed := s.dial()
	c := client.New(mta)
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Connect("mail.evil.example", netip.MustParseAddrPort("198.51.100.66:25")); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Helo("mail.evil.example"); err != nil {
		b.Fatal(err)
	}
	env := client.Envelope{From: "<x@evil.example>", To: []string{"<r@here.example>"}, QueueID: "4Q"}
	b.ReportAllocs()
	b.SetBytes(int64(len(mail)))
	for b.Loop() {
		res, err := c.SendMessage(env, []byte(mail))
		if err != nil {
			b.Fatal(err)
		}
		label := ""
		for _, m := range res.Modifications {
			if isOurs(m.Name, m.Value) {
				label = m.Value
			}
		}
		if !strings.Contains(label, want) {
			b.Fatalf("%s: no %q in %q", res.Action, want, label)
		}
		s.take()
	}
	b.StopTimer()
	_ = c.Quit()
	<-closed
}

// BenchmarkSession measures the time that a whole session takes for messages that have a growing
// number of one thing, such as signatures. From one case to the next this number doubles, and the
// time should not more than double. RSA is an exception: its arithmetic grows with the square of
// the key length, up to the limit of 8,192 bits. Longer keys are not used for verification.
func BenchmarkSession(b *testing.B) {
	run := func(what string, n int, zoneText, mail, want string) {
		b.Run(fmt.Sprintf("%s-%d", what, n), func(b *testing.B) { benchSession(b, zoneText, mail, want) })
	}
	signature := func(more string) string {
		return "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s; " + more + "bh=" + signer.BodyHash("") + "; b=AAAA\r\n"
	}
	for _, n := range []int{1 << 19, 1 << 20, 1 << 21, 1 << 22} {
		run("empty-lines", n, "", signature("h=from; ")+"From: a@bank.example\r\n\r\n"+strings.Repeat("\r\n", n), "signature_mismatch")
	}
	for _, n := range []int{6000, 12_000, 24_000} {
		run("h-names", n, "", signature("h=from"+strings.Repeat(":x", n)+"; ")+"From: a@bank.example\r\n\r\n", "signature_mismatch")
	}
	for _, n := range []int{480, 960, 1920} {
		run("header-fields", n, "", signature("h=from"+strings.Repeat(":x", n)+"; ")+"From: a@bank.example\r\n"+strings.Repeat("X: y\r\n", n)+"\r\n",
			"signature_mismatch")
	}
	for _, n := range []int{25, 50, 100} {
		run("authors", n, "", "From: "+strings.Repeat("a@bank.example, ", n)+"\r\n\r\n", "dmarc=")
	}
	for _, n := range []int{8000, 16_000, 32_000} {
		run("from-octets", n, "", "From: "+strings.Repeat("(", 9)+strings.Repeat("x", n)+strings.Repeat(")", 9)+" a@bank.example\r\n\r\n", "dmarc=fail")
	}
	for _, n := range []int{240, 480, 960, 1920} {
		run("forged-results", n, "", strings.Repeat("Authentication-Results: mx.here.example; dmarc=pass\r\n", n)+"From: a@bank.example\r\n\r\n", "dmarc=fail")
	}
	for _, n := range []int{125, 250, 500, 1000} {
		run("signatures", n, "", strings.Repeat(signature("h=from; "), n)+"From: a@bank.example\r\n\r\n", "more did not pass")
	}
	for _, bits := range []int{1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072} {
		want := "signature_mismatch"
		if bits > 8192 {
			want = "large_key"
		}
		zoneText, field := rsaCase(b, bits)
		run("rsa-bits", bits, zoneText, field+"From: a@bank.example\r\n\r\n", want)
	}
}

// rsaCase returns zone text with an RSA key of the given length, and a signature of the same
// length. The signature is wrong, but a verifier finds that out only by computing it.
func rsaCase(b *testing.B, bits int) (zoneText, field string) {
	b.Helper()
	n := make([]byte, bits/8)
	_, _ = rand.Read(n)
	n[0] |= 0x80
	n[len(n)-1] |= 1
	der, err := asn1.Marshal(struct{ N, E *big.Int }{new(big.Int).SetBytes(n), big.NewInt(65537)})
	if err != nil {
		b.Fatal(err)
	}
	key := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	var text strings.Builder
	text.WriteString("r._domainkey.bank.example TXT")
	for ; key != ""; key = key[min(255, len(key)):] {
		text.WriteString(` "` + key[:min(255, len(key))] + `"`)
	}
	sig := bytes.Clone(n)
	sig[0] = 0
	return text.String() + "\n", "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=bank.example; s=r; h=from; bh=" + signer.BodyHash("") +
		"; b=" + base64.StdEncoding.EncodeToString(sig) + "\r\n"
}
