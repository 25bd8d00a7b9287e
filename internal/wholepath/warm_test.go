package wholepath

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime/metrics"
	"testing"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/judge"
	"sekimori/internal/message"
	"sekimori/internal/msgauth"
	"sekimori/internal/replay"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// warmMail returns a message for which SPF, DKIM, ARC, DMARC and iprev all ask DNS, and the zone
// that answers. The author and the return path are in subdomains of the signer's domain. So DMARC
// needs a tree walk for each of them.
func warmMail(t *testing.T) (*zone.Zone, judge.Message, []byte) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	z := nameserver.Zone(t, fmt.Sprintf(`
x.lists.bank.example      TXT "v=spf1 include:_spf.bank.example -all"
_spf.bank.example         TXT "v=spf1 ip4:192.0.2.0/24 ~all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
mx.bank.example           A 192.0.2.1
mx.bank.example           TXT "v=spf1 a -all"
1.2.0.192.in-addr.arpa    PTR mx.bank.example.
s._domainkey.bank.example TXT "%[1]s"
s._domainkey.hop1.example TXT "%[1]s"
`, signer.Record(key.Public())))
	const unsigned = "From: Ann <ann@news.bank.example>\r\nSubject: hello\r\n\r\nHello.\r\n"
	h, body := signer.Split([]byte(unsigned))
	value := fmt.Sprintf(" v=1; a=ed25519-sha256; c=relaxed/relaxed; d=bank.example; s=s; h=from:subject; bh=%s; b=", signer.BodyHash(signer.Body(string(body))))
	value += signer.Sign(t, key, signer.Selected(h, "from:subject")+signer.Field("DKIM-Signature", value))
	raw := signer.Seal(t, signer.Set{I: 1, Key: key}, "DKIM-Signature:"+value+"\r\n"+unsigned)
	header, text := message.Parse([]byte(raw))
	return z, judge.Message{
		Session:  msgauth.Session{Client: netip.MustParseAddr("192.0.2.1"), ClientName: "mx.bank.example", HELO: "mx.bank.example"},
		Envelope: msgauth.Envelope{MailFrom: "<a@x.lists.bank.example>", Recipients: []string{"<r@here.example>"}},
		Header:   header, Whole: true,
	}, text
}

// created returns how many goroutines this process has started so far.
func created(t *testing.T) uint64 {
	t.Helper()
	sample := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		t.Fatalf("%s is not counted", sample[0].Name)
	}
	return sample[0].Value.Uint64()
}

// TestWarmMessageStartsNoGoroutine: if all DNS answers for a message are in the cache, the message
// is evaluated in the goroutine of the caller, and no other goroutine is started. This works only
// if every resolver that wraps another resolver forwards Peek to it.
func TestWarmMessageStartsNoGoroutine(t *testing.T) {
	z, m, body := warmMail(t)
	server := nameserver.ServeZone(t, z, nameserver.Options{})
	cfg := config.Default()
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
	daemon, err := app.NewResolver(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	snapshot, err := replay.OpenSnapshot(filepath.Join(t.TempDir(), "dns.jsonl"), daemon)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := snapshot.Close(false); err != nil {
			t.Error(err)
		}
	}()
	for name, r := range map[string]dns.Resolver{
		"the daemon": daemon, "explain": dns.NewTrace(daemon), "explain --zone": dns.NewTrace(z), "replay": snapshot,
	} {
		j, end, err := app.NewJudge(cfg, r)
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		judged := func() uint64 {
			before := created(t)
			c := j.Open(t.Context(), m)
			c.Write(body)
			d := c.Finish(t.Context())
			if e := d.Evaluation; e == nil || e.DMARC.Result != dmarc.ResultPass || !e.DMARC.AlignedDKIM || e.ARC.Status != "pass" || e.IPRev.Status != "pass" {
				t.Fatalf("%s: %+v", name, e)
			}
			return created(t) - before
		}
		judged() // fills the cache with all answers
		least := judged()
		for range 20 { // several attempts, because the runtime and the name server sometimes start goroutines too
			least = min(least, judged())
		}
		if least != 0 {
			t.Errorf("%s: a warm message starts %d goroutines", name, least)
		}
	}
}
