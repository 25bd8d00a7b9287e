package filter

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/judge"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// TestRecipientWithoutSender checks that the session takes a recipient, and whatever follows, when
// no message has begun.
func TestRecipientWithoutSender(t *testing.T) {
	s := &session{}
	for name, got := range map[string]milter.Reply{
		"RCPT":           s.Rcpt("<to@here.example>", nil),
		"DATA":           s.Data(),
		"header":         s.Header("Subject", " s"),
		"end of header":  s.EndOfHeader(),
		"body":           s.Body([]byte("x")),
		"end of message": s.EndOfMessage(t.Context(), nil),
	} {
		if got != milter.Continue {
			t.Errorf("%s: %v, want continue", name, got)
		}
	}
}

// TestBodyIsHashed checks that the body reaches the signatures: as it was signed it passes, and with
// another octet at its beginning or its end it does not.
func TestBodyIsHashed(t *testing.T) {
	key := ed25519.NewKeyFromSeed([]byte("a key of thirty-two octets, so: "))
	zone := nameserver.Zone(t, zoneText+"\ns1._domainkey.bank.example TXT \""+signer.Record(key.Public())+"\"\n")
	addr, _ := serve(t, zone, judge.Judge{Policy: policy.Config{Mode: policy.Monitor}}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	body := strings.Repeat("a line of the body\n", 8000) // several chunks
	head := fmt.Sprintf(strings.TrimSuffix(mail, "body\n"), "bank.example")
	signed := signer.DKIM(t, key, "v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s1; h=from:subject; bh=%BH; b=", strings.ReplaceAll(head+body, "\n", "\r\n"))
	signed = strings.ReplaceAll(signed, "\r\n", "\n")
	for _, c := range []struct {
		name, raw, want string
	}{
		{"as signed", signed, "dkim=pass"},
		{"another beginning", strings.Replace(signed, "\n\na line", "\n\nA line", 1), "dkim=fail"},
		{"another end", strings.TrimSuffix(signed, "body\n") + "bodY\n", "dkim=fail"},
		{"no body", strings.TrimSuffix(signed, body), "dkim=fail"},
	} {
		_, h := s.send("<x@evil.example>", c.raw)
		if got := ours(t, h); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
