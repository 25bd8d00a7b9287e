package app

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/message"
)

// sealed puts one more ARC set on top (RFC 8617 §5.1), over From and Subject,
// in relaxed form.
func sealed(t *testing.T, eml, domain, results string) string {
	t.Helper()
	header, body := message.Parse([]byte(eml))
	sets := len(header.Values("ARC-Seal"))
	i, cv := sets+1, "pass"
	if i == 1 {
		cv = "none"
	}
	sum := sha256.Sum256([]byte(relaxedBody(string(body))))
	aar := fmt.Sprintf(" i=%d; %s", i, results)
	ams := fmt.Sprintf(" i=%d; a=ed25519-sha256; c=relaxed/relaxed; d=%s; s=s; h=from:subject; bh=%s; b=", i, domain, base64.StdEncoding.EncodeToString(sum[:]))
	over := relaxed("from", header.Values("From")[0]) + "\r\n" + relaxed("subject", header.Values("Subject")[0]) + "\r\n"
	ams += mark(t, over+relaxed("arc-message-signature", ams))
	seal := fmt.Sprintf(" i=%d; a=ed25519-sha256; cv=%s; d=%s; s=s; b=", i, cv, domain)
	names := []string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"}
	over = ""
	for set := sets - 1; set >= 0; set-- { // the newest is topmost
		for _, name := range names {
			over += relaxed(name, header.Values(name)[set]) + "\r\n"
		}
	}
	over += relaxed(names[0], aar) + "\r\n" + relaxed(names[1], ams) + "\r\n"
	seal += mark(t, over+relaxed(names[2], seal))
	return "ARC-Seal:" + seal + "\r\nARC-Message-Signature:" + ams + "\r\nARC-Authentication-Results:" + aar + "\r\n" + eml
}

var blanks = regexp.MustCompile(`[ \t]+`)

// relaxed is a field in the form of RFC 6376 §3.4.2, without its line end.
func relaxed(name, value string) string {
	return strings.ToLower(name) + ":" + strings.TrimSpace(blanks.ReplaceAllString(message.Unfold(value), " "))
}

// relaxedBody is RFC 6376 §3.4.4's form.
func relaxedBody(body string) string {
	lines := strings.Split(body, "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(blanks.ReplaceAllString(l, " "), " ")
	}
	return strings.TrimRight(strings.Join(lines, "\r\n"), "\r\n") + "\r\n"
}

func mark(t *testing.T, over string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(over))
	sig, err := everybody().Sign(rand.Reader, sum[:], crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}
