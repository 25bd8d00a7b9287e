package arc

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/signer"
)

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte("the test's key of thirty-two oct"))
}

func keyRecord() dns.Record {
	return dns.Record{Text: signer.Record(testKey().Public())}
}

// zoneFor returns a zone with the keys of all sealers.
func zoneFor() *zone.Zone {
	z := zone.New()
	for i := range maxSets + 2 {
		z.Add(dns.Name(fmt.Sprintf("s._domainkey.hop%d.example", i)), dns.TypeTXT, keyRecord())
	}
	return z
}

// seal adds a set at the top of a message. It folds the fields as most sealers
// do.
func seal(tb testing.TB, s signer.Set, eml string) string {
	tb.Helper()
	s.Key, s.Fold = testKey(), "\r\n\t"
	return signer.Seal(tb, s, eml)
}

// chain seals a message n times.
func chain(tb testing.TB, n int, eml string) string {
	for i := 1; i <= n; i++ {
		eml = seal(tb, signer.Set{I: i}, eml)
	}
	return eml
}

const testMail = "From: Ann <ann@example.com>\r\nSubject: a test\r\n\r\nHello  there.\r\n\r\n"
