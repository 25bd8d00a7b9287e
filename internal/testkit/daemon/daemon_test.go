package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/recorder"
)

const zoneText = `
bank.example        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example TXT "v=DMARC1; p=reject"
`

func TestDaemon(t *testing.T) {
	z := nameserver.Zone(t, zoneText)
	cfg := Config(nameserver.ServeZone(t, z, nameserver.Options{}).Addr())
	cfg.AuthservID = "mx.here.example"
	d := Start(t, cfg)
	for asked, peer := range []mta.Peer{
		{Addr: netip.MustParseAddrPort("192.0.2.1:2525"), HELO: "mail.bank.example"},
		{Addr: netip.MustParseAddrPort("192.0.2.1:2526"), HELO: "mail.bank.example"},
	} {
		res, err := d.Send(peer, client.Envelope{From: "<a@bank.example>", To: []string{"<r@here.example>"}}, []byte("From: a@bank.example\r\n\r\nx\r\n"))
		if err != nil || len(res.Modifications) != 1 || !strings.Contains(res.Modifications[0].Value, "dmarc=pass") {
			t.Fatalf("%+v, %v", res, err)
		}
		n := 0
		for _, q := range z.Queries() {
			if q == "bank.example TXT" {
				n++
			}
		}
		if n <= asked {
			t.Errorf("message %d found SPF in a cache", asked+1)
		}
	}
	d.Stop()
	d.Stop()
	if n := len(d.Log.Records(t, "evaluated")); n != 2 {
		t.Errorf("%d records:\n%s", n, d.Log.String())
	}
	if _, err := net.Dial("tcp", d.Addr); err == nil {
		t.Error("the stopped daemon answers")
	}
}

// TestLogIsHeld checks that Start makes a test fail if the daemon logs an error or a panic.
func TestLogIsHeld(t *testing.T) {
	server := nameserver.ServeZone(t, zone.New(), nameserver.Options{}).Addr()
	for line, want := range map[string]string{
		``:                                      "",
		`{"level":"WARN","msg":"x"}`:            "",
		`{"level":"ERROR","msg":"no good"}`:     "no good",
		`{"level":"WARN","msg":"panic","at":1}`: "the daemon logged an error",
	} {
		var d *Daemon
		said := recorder.Run(t, func(tb testing.TB) {
			d = Start(tb, Config(server))
			if line != "" {
				fmt.Fprintln(&d.Log, line)
			}
		})
		if (said == "") != (want == "") || !strings.Contains(said, want) {
			t.Errorf("%s: %q, want %q", line, said, want)
		}
		if _, err := net.Dial("tcp", d.Addr); err == nil {
			t.Error("the daemon outlives its test")
		}
	}
}
