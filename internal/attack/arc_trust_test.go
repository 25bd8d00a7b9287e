package attack

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/testkit/signer"
)

// TestTrustedSealer checks when a message that fails DMARC gets the override for trusted
// forwarders. The ARC chain of the message must be valid, and the newest sealer must be in
// arc.trusted_sealers. There is no override if this sealer's own results say that DMARC failed.
// The DMARC result stays fail in any case.
func TestTrustedSealer(t *testing.T) {
	r := newRig(t, "", func(c *config.Config) { c.ARC.TrustedSealers = []config.Domain{"hop2.example", "hop3.example"} })
	two := chainOf(t, 2, bankMail)
	const trusted = "override trusted_forwarder: valid ARC chain, newest seal by hop2.example"
	for _, tc := range []struct {
		why, raw string
		trusted  bool
	}{
		{"the newest seal is a trusted forwarder's", two, true},
		{"no chain", bankMail, false},
		{"only an untrusted sealer", chainOf(t, 1, bankMail), false},
		{"an untrusted sealer after the trusted one", sealWith(t, signer.Set{I: 3, Domain: "hop1.example"}, two), false},
		{"the message was changed after the seal", replaced(two, "hello", "pay"), false},
		{"the trusted seal is moved onto another message", two[:strings.Index(two, "From:")] + replaced(bankMail, "hello", "pay"), false},
		{"the seal names the trusted domain, but is the attacker's", sealWith(t, signer.Set{I: 2, Key: evilKey()}, chainOf(t, 1, bankMail)), false},
		{"the trusted forwarder itself saw a fail",
			sealWith(t, signer.Set{I: 2, Results: "mx.example; dmarc=fail header.from=bank.example"}, chainOf(t, 1, bankMail)), false},
		{"its results cannot be read", sealWith(t, signer.Set{I: 2, Results: "mx.example; ;;; \"dmarc=pass"}, chainOf(t, 1, bankMail)), true},
		{"a subdomain of a trusted sealer", sealWith(t, signer.Set{I: 2, Domain: "x.hop2.example"}, chainOf(t, 1, bankMail)), false},
	} {
		g := r.send(t, shot{zone: hopZone(3) + txt("s._domainkey.x.hop2.example", edRecord(bankKey())), raw: tc.raw})
		words, comment := g.words("dmarc"), ""
		for _, result := range g.label.Results {
			if result.Method == "dmarc" {
				comment = result.Comment
			}
		}
		if words != "dmarc=fail" || strings.Contains(comment, trusted) != tc.trusted {
			t.Errorf("%s: %s", tc.why, fmt.Sprint(words, " ", comment))
		}
	}
}
