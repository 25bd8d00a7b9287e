package attack

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// mostOperations is the most public-key arithmetic that one message may cause. The unit is the
// verification of one RSA signature with a key of 2,048 bits and the exponent 65537.
const mostOperations = 64

// TestKeyWork sends messages whose keys are up to a hundred times as expensive as an ordinary key,
// and publishes several keys at each name. The arithmetic for a message must stay within
// mostOperations. With ordinary keys, the longest ARC chain and ten signatures stay within it. A
// signature that is not verified because of the limit gets the result policy.
func TestKeyWork(t *testing.T) {
	r := newRig(t, "", nil)
	const exponent = 1<<31 - 1
	ordinary, heavy := signer.NewHeavy(t, 2048, 65537), signer.NewHeavy(t, 8192, exponent)
	// The records of these keys sort before the record of the signer's key, because their exponent
	// is smaller. So they are tried first.
	strangers := func(bits, exponent int) (records []string) {
		for range 3 {
			records = append(records, signer.Record(signer.NewHeavy(t, bits, exponent).Public()))
		}
		return records
	}
	bank := "v=1; a=rsa-sha256; c=relaxed/relaxed; d=bank.example; s=s; h=from:subject; bh=%BH; b="
	for _, tc := range []struct {
		why              string
		key              *signer.Heavy
		before           []string // other key records at each name, tried before the signer's record
		signatures, sets int
		author           bool // the author's domain signs too; its signature is the lowest one
		dkim, arc        string
		least            float64 // least number of operations that the message must need
	}{
		{"ordinary keys, the longest chain", ordinary, nil, 9, 50, true, "pass:10", "arc=pass", 61},
		{"an exponent of 31 bits", signer.NewHeavy(t, 2048, exponent), nil, 10, 0, false, "pass:10", "arc=none", 20},
		{"8,192 bits", signer.NewHeavy(t, 8192, 65537), nil, 9, 0, true, "pass:4 policy:6", "arc=none", 49},
		{"8,192 bits, an exponent of 31", heavy, nil, 9, 0, true, "pass:2 policy:8", "arc=none", 38},
		{"the same, the fourth of four keys", heavy, strangers(8192, 65537), 9, 0, true, "pass:1 policy:9", "arc=none", 30},
		{"the same, and 50 sets", heavy, strangers(8192, 65537), 9, 50, true, "pass:1 policy:9", "", 30},
		{"50 sets and four keys at each of their names", ordinary, strangers(2048, 3), 0, 50, false, "none:1", "", 13},
		{"a short chain of four heavy keys at each name", heavy, strangers(8192, 65537), 0, 2, false, "none:1", "", 30},
	} {
		t.Run(tc.why, func(t *testing.T) {
			zoneText, raw := "", bankMail
			publish := func(domain string) {
				for _, record := range append(tc.before, signer.Record(tc.key.Public())) {
					zoneText += txt("s._domainkey."+domain, record)
				}
			}
			if tc.author {
				zoneText += txt("s._domainkey.bank.example", signer.Record(ordinary.Public()))
				raw = signer.DKIM(t, ordinary, bank, raw)
			}
			for i := range tc.signatures {
				domain := fmt.Sprintf("d%d.example", i)
				publish(domain)
				raw = signer.DKIM(t, tc.key, strings.Replace(bank, "bank.example", domain, 1), raw)
			}
			for i := 1; i <= tc.sets; i++ {
				publish(fmt.Sprintf("hop%d.example", i))
				raw = signer.Seal(t, signer.Set{I: i, Key: tc.key}, raw)
			}
			g := r.send(t, shot{zone: zoneText, raw: raw})
			n := map[string]int{}
			for _, result := range g.label.Results {
				if result.Method == "dkim" {
					n[result.Value]++ // without the reason, because a long field leaves out the reasons
				}
			}
			if got := strings.Trim(strings.TrimPrefix(fmt.Sprint(n), "map"), "[]"); got != tc.dkim {
				t.Errorf("dkim: %s, want %s", got, tc.dkim)
			}
			if got := g.words("arc"); got != tc.arc {
				t.Errorf("%q, want %q", got, tc.arc)
			}
			want := "dmarc=fail"
			if tc.author {
				want = "dmarc=pass"
			}
			if got := g.words("dmarc"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if n := operations(t, bankZone+zoneText, raw); n < tc.least || n > mostOperations {
				t.Errorf("%v operations, want %v to %d", n, tc.least, mostOperations)
			}
		})
	}
}

// operations returns how many public-key operations a message needs. The unit is the same as that
// of mostOperations.
func operations(t *testing.T, zoneText, raw string) float64 {
	t.Helper()
	h, body := message.Parse([]byte(raw))
	c := msgauth.NewVerifier(nameserver.Zone(t, zoneText), msgauth.Options{}).
		Connect(t.Context(), msgauth.Session{Client: netip.MustParseAddr(attackerIP)})
	defer c.Close()
	env := msgauth.Envelope{MailFrom: "<bounce@evil.example>"}
	m := c.Begin(msgauth.Session{}, env)
	defer m.Close()
	m.EndOfHeader(h)
	_, _ = m.Write(body)
	e := m.Finish(t.Context(), env)
	return e.Cost[msgauth.DKIM].Operations + e.Cost[msgauth.ARC].Operations
}
