package deploy

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"

	godkim "github.com/emersion/go-msgauth/dkim"

	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

// zoneText has an author domain for each DMARC policy. %KEY% is replaced by the public key of
// good.example.
const zoneText = `
good.example                 TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.good.example          TXT "v=DMARC1; p=reject"
s1._domainkey.good.example   TXT "v=DKIM1; k=ed25519; p=%KEY%"
mx.good.example              A   192.0.2.1
1.2.0.192.in-addr.arpa       PTR mx.good.example
quarantine.example           TXT "v=spf1 -all"
_dmarc.quarantine.example    TXT "v=DMARC1; p=quarantine"
none.example                 TXT "v=spf1 -all"
_dmarc.none.example          TXT "v=DMARC1; p=none"
nothing.example              A   192.0.2.1
`

const text = "From: Author <author@%s>\r\nTo: reader@rcpt.example\r\nSubject: hello\r\n" +
	"Date: %D\r\nMessage-ID: <1@%s>\r\n\r\nHello.\r\n"

// message returns a message of an author at the domain. Its Date is the current time, because the
// daemon tells the operator if many messages have another one.
func message(domain string) []byte {
	return []byte(strings.NewReplacer("%s", domain, "%D", time.Now().Format(time.RFC1123Z)).Replace(text))
}

// sign returns a message whose author is at the given domain, with a DKIM signature of that domain.
func sign(t *testing.T, key ed25519.PrivateKey, domain string) []byte {
	t.Helper()
	var signed bytes.Buffer
	err := godkim.Sign(&signed, bytes.NewReader(message(domain)), &godkim.SignOptions{
		Domain: domain, Selector: "s1", Signer: key,
		HeaderCanonicalization: godkim.CanonicalizationRelaxed, BodyCanonicalization: godkim.CanonicalizationRelaxed,
	})
	if err != nil {
		t.Fatal(err)
	}
	return signed.Bytes()
}

// nameServer serves zoneText with the given key and returns its address.
func nameServer(t *testing.T, key ed25519.PublicKey) string {
	t.Helper()
	text := strings.ReplaceAll(zoneText, "%KEY%", base64.StdEncoding.EncodeToString(key))
	server := nameserver.Serve(t, text, nameserver.Options{})
	return server.Addr()
}

// traffic sends messages with different results and policies, so that the daemon has the series
// that exist only after such messages.
func (d *daemon) traffic(t *testing.T, key ed25519.PrivateKey) {
	t.Helper()
	good, bad := netip.MustParseAddrPort("192.0.2.1:25000"), netip.MustParseAddrPort("198.51.100.66:25000")
	signed := sign(t, key, "good.example")
	for _, c := range []struct {
		reason   string
		client   netip.AddrPort
		domain   string
		raw      []byte
		delivers bool
	}{
		{"a pass", good, "good.example", signed, true},
		{"a broken signature, and SPF passes", good, "good.example", append(signed[:len(signed):len(signed)], "Added.\r\n"...), true},
		{"a spoof under p=reject", bad, "good.example", message("good.example"), false},
		{"a spoof under p=quarantine", bad, "quarantine.example", message("quarantine.example"), true},
		{"a spoof under p=none", bad, "none.example", message("none.example"), true},
		{"no policy", bad, "nothing.example", message("nothing.example"), true},
	} {
		if got := d.send(t, c.client, c.domain, c.raw); got.Action.Delivers() != c.delivers {
			t.Errorf("%s: %v, want delivered %v", c.reason, got.Action, c.delivers)
		}
	}
}

// send sends one message in its own session, as Postfix does.
func (d *daemon) send(t *testing.T, from netip.AddrPort, domain string, raw []byte) client.Result {
	t.Helper()
	peer := mta.Peer{Name: "[" + from.Addr().String() + "]", Addr: from, HELO: "mx." + domain}
	res, err := mta.Send("unix", d.socket, peer,
		client.Envelope{From: "<author@" + domain + ">", To: []string{"<reader@rcpt.example>"}, QueueID: "4Q" + domain}, raw)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
