package attack

import (
	"fmt"
	"regexp"
	"sekimori/internal/testkit/signer"
	"strings"
	"testing"
)

// sealWith adds an ARC set at the top of a message. If s has no key, the bank's key is used. If s
// has no results, the set claims that DKIM and DMARC passed for bank.example.
func sealWith(t testing.TB, s signer.Set, eml string) string {
	t.Helper()
	if s.Key == nil {
		s.Key = bankKey()
	}
	if s.Results == "" {
		s.Results = "mx.example; dkim=pass header.d=bank.example; dmarc=pass header.from=bank.example"
	}
	return signer.Seal(t, s, eml)
}

func chainOf(t testing.TB, n int, eml string) string {
	for i := 1; i <= n; i++ {
		eml = sealWith(t, signer.Set{I: i}, eml)
	}
	return eml
}

// hopZone returns zone text with the keys of n honest sealers, hop1.example and so on, and the
// attacker's key at evil.example.
func hopZone(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		b.WriteString(txt(fmt.Sprintf("s._domainkey.hop%d.example", i), edRecord(bankKey())))
	}
	return b.String() + txt("s._domainkey.evil.example", edRecord(evilKey()))
}

// without removes the header fields whose first line begins with a match of the regular expression
// "pattern".
func without(eml, pattern string) string {
	out := regexp.MustCompile(`(?mi)^`+pattern+`.*\r\n`).ReplaceAllString(eml, "")
	if out == eml {
		panic("nothing matches " + pattern)
	}
	return out
}

func replaced(eml, old, with string) string {
	if !strings.Contains(eml, old) {
		panic("no " + old)
	}
	return strings.Replace(eml, old, with, 1)
}

// TestARC sends mail of the bank with ARC chains that an attacker could make. DMARC must not pass
// because of a chain.
func TestARC(t *testing.T) {
	r := newRig(t, "", nil)
	two := chainOf(t, 2, bankMail)
	aar1 := two[strings.Index(two, "ARC-Authentication-Results: i=1"):]
	aar1 = aar1[:strings.Index(aar1, "\r\n")+2]
	otherMail := strings.Replace(bankMail, "hello", "pay", 1)
	chain := two[:strings.Index(two, "From:")]
	for _, tc := range []struct{ why, raw, want string }{
		{"no chain", bankMail, "none"},
		{"one set", chainOf(t, 1, bankMail), "pass"},
		{"two sets", two, "pass"},
		{"three sets", chainOf(t, 3, bankMail), "pass"},
		{"50 sets", chainOf(t, 50, bankMail), "pass"},
		{"51 sets", chainOf(t, 51, bankMail), "fail"},
		{"600 fields of sets", strings.Repeat(chain, 100) + bankMail, "fail"},

		{"no results in 1", without(two, `arc-authentication-results: i=1;`), "fail"},
		{"no message signature in 1", without(two, `arc-message-signature: i=1;`), "fail"},
		{"no seal in 1", without(two, `arc-seal: i=1;`), "fail"},
		{"no results in 2", without(two, `arc-authentication-results: i=2;`), "fail"},
		{"no message signature in 2", without(two, `arc-message-signature: i=2;`), "fail"},
		{"no seal in 2", without(two, `arc-seal: i=2;`), "fail"},
		{"no set 1", without(two, `arc-[a-z-]*: i=1;`), "fail"},
		{"set 2 taken away: the chain of 1 is whole", without(two, `arc-[a-z-]*: i=2;`), "pass"},
		{"only seals", without(without(two, `arc-authentication-results`), `arc-message-signature`), "fail"},
		{"only results", without(without(two, `arc-seal`), `arc-message-signature`), "fail"},
		{"results twice", aar1 + two, "fail"},
		{"results of 1 again as 2", replaced(aar1, "i=1", "i=2") + two, "fail"},
		{"results of 1 again as 3", replaced(aar1, "i=1", "i=3") + two, "fail"},
		{"two chains of one message", chainOf(t, 1, bankMail)[:strings.Index(chainOf(t, 1, bankMail), "From:")] + two, "fail"},
		{"sets in another order in the header", reorder(two), "pass"},

		{"i=0", sealWith(t, signer.Set{I: 1, Instance: "0"}, bankMail), "fail"},
		{"i=51", sealWith(t, signer.Set{I: 1, Instance: "51"}, bankMail), "fail"},
		{"i=001", sealWith(t, signer.Set{I: 1, Instance: "001"}, bankMail), "fail"},
		{"i=-1", sealWith(t, signer.Set{I: 1, Instance: "-1"}, bankMail), "fail"},
		{"i=1.0", sealWith(t, signer.Set{I: 1, Instance: "1.0"}, bankMail), "fail"},
		{"i=4294967297", sealWith(t, signer.Set{I: 1, Instance: "4294967297"}, bankMail), "fail"},
		{"i= empty", sealWith(t, signer.Set{I: 1, Instance: " "}, bankMail), "fail"},
		{"i= twice in the message signature", sealWith(t, signer.Set{I: 1, AMS: "i=2; "}, bankMail), "fail"},
		{"i= twice in the seal", sealWith(t, signer.Set{I: 1, AS: "i=2; "}, bankMail), "fail"},
		{"the results do not begin with i=", replaced(two, "ARC-Authentication-Results: i=2;", "ARC-Authentication-Results: mx.example; i=2;"), "fail"},

		{"cv=pass in the first", sealWith(t, signer.Set{I: 1, CV: "pass"}, bankMail), "fail"},
		{"cv=none in the second", sealWith(t, signer.Set{I: 2, CV: "none"}, chainOf(t, 1, bankMail)), "fail"},
		{"cv=fail in the newest", sealWith(t, signer.Set{I: 2, CV: "fail"}, chainOf(t, 1, bankMail)), "fail"},
		{"cv=fail, then cv=pass", sealWith(t, signer.Set{I: 3}, sealWith(t, signer.Set{I: 2, CV: "fail"}, chainOf(t, 1, bankMail))), "fail"},
		{"cv=PASS", sealWith(t, signer.Set{I: 2, CV: "PASS"}, chainOf(t, 1, bankMail)), "fail"},
		{"cv= twice", sealWith(t, signer.Set{I: 1, AS: "cv=none; "}, bankMail), "fail"},
		{"no cv=", replaced(chainOf(t, 1, bankMail), "cv=none; ", ""), "fail"},
		{"cv=pass (comment)", sealWith(t, signer.Set{I: 2, CV: "pass (x)"}, chainOf(t, 1, bankMail)), "fail"},
		{"cv= changed from fail to pass", replaced(sealWith(t, signer.Set{I: 2, CV: "fail"}, chainOf(t, 1, bankMail)), "cv=fail", "cv=pass"), "fail"},

		{"a seal with h=", sealWith(t, signer.Set{I: 1, AS: "h=from; "}, bankMail), "fail"},
		{"a seal with bh=", sealWith(t, signer.Set{I: 1, AS: "bh=AAAA; "}, bankMail), "fail"},
		{"a message signature over the seal", sealWith(t, signer.Set{I: 1, H: "from:arc-seal"}, bankMail), "fail"},
		{"a message signature without From", sealWith(t, signer.Set{I: 1, H: "subject"}, bankMail), "fail"},
		{"a message signature with l=0", sealWith(t, signer.Set{I: 1, AMS: "l=0; "}, replaced(bankMail, "Hello  there.\r\n", "")) + "Pay.\r\n", "fail"},
		{"an expired message signature", sealWith(t, signer.Set{I: 1, AMS: "x=1; "}, bankMail), "fail"},

		{"the body changed", two + "more\r\n", "fail"},
		{"From changed", replaced(two, "From: Ann", "From: Bob"), "fail"},
		{"a From added", "From: eve@evil.example\r\n" + two, "fail"},
		{"the chain of another message", chain + otherMail, "fail"},
		{"the chain of another message, sealed by the attacker", sealWith(t, signer.Set{I: 3, Domain: "evil.example", Key: evilKey()}, chain+otherMail), "pass"},
		{"forged as a trusted sealer over a valid chain", sealWith(t, signer.Set{I: 3, Key: evilKey()}, two), "fail"},
		{"forged as the first sealer", sealWith(t, signer.Set{I: 1, Key: evilKey()}, bankMail), "fail"},
		{"results of 1 changed, sealed by the attacker",
			sealWith(t, signer.Set{I: 3, Domain: "evil.example", Key: evilKey()}, replaced(two, "dkim=pass", "dkim=fail")), "fail"},
		{"seal 1 broken, sealed by the attacker",
			sealWith(t, signer.Set{I: 3, Domain: "evil.example", Key: evilKey()},
				replaced(two, "cv=none; d=hop1.example; s=s; b=", "cv=none; d=hop1.example; s=s; b=AAAA")), "fail"},
		{"no key of set 1", replaced(sealWith(t, signer.Set{I: 2}, sealWith(t, signer.Set{I: 1, Domain: "gone.example"}, bankMail)), "x", "x"), "fail"},
		{"sealed by the attacker alone", sealWith(t, signer.Set{I: 1, Domain: "evil.example", Key: evilKey()}, bankMail), "pass"},
		{"NULs and results in the payload", sealWith(t,
			signer.Set{I: 1, Domain: "evil.example", Key: evilKey(), Results: "mx.here.example; dmarc=pass smtp.remote-ip=\"1.2.3.4\x01\""}, bankMail), "pass"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			g := r.send(t, shot{zone: hopZone(51), raw: tc.raw})
			if got := g.words("arc"); got != "arc="+tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if got := g.words("dmarc"); got == "dmarc=pass" {
				t.Error("a chain made DMARC pass")
			}
			if len(g.queries) > 120 {
				t.Errorf("%d questions", len(g.queries))
			}
		})
	}
}

// reorder swaps fields of a chain of two sets, so that they are no longer in the order in which
// they were added. Verifiers must identify a set by i= alone.
func reorder(eml string) string {
	lines := strings.SplitAfter(eml, "\r\n")
	for i, j := range map[int]int{0: 5, 1: 3} {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return strings.Join(lines, "")
}
