package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
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
	if cfg.Admin.Listen != "" || cfg.DNS.Cache.Size != 0 {
		t.Errorf("admin %q, cache %d", cfg.Admin.Listen, cfg.DNS.Cache.Size)
	}
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
	if n := len(d.Log.Records(t, "stopped")); n != 1 {
		t.Errorf("stopped %d times:\n%s", n, d.Log.String())
	}
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

// TestPair checks what each daemon of a pair does, and that both, here with a cache, see the zone that SetZone sets.
func TestPair(t *testing.T) {
	const cached = "$TTL 3600\n" + zoneText
	changes := 0
	p := StartPair(t, nameserver.Zone(t, cached), "mx.here.example", func(cfg *config.Config) {
		changes++
		cfg.DNS.Cache.Size = 1 << 20
	})
	bare := StartPair(t, nameserver.Zone(t, cached), "mx.here.example", nil)
	check := func(p *Pair, monitor, enforce client.Kind, label string) {
		t.Helper()
		for d, want := range map[*Daemon]client.Kind{p.Monitor: monitor, p.Enforce: enforce} {
			res, err := d.Send(mta.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:2525"), HELO: "x.example"},
				client.Envelope{From: "<a@bank.example>", To: []string{"<r@here.example>"}}, []byte("From: a@bank.example\r\n\r\nx\r\n"))
			if err != nil || res.Action.Kind != want && (want != client.Reject || res.Action.Kind != client.Custom) {
				t.Errorf("%+v, %v, want %s", res, err, want)
			}
			if res.Action.Delivers() && !strings.Contains(res.Modifications[0].Value, label) {
				t.Errorf("%+v, want %s", res, label)
			}
		}
	}
	check(p, client.Continue, client.Reject, "dmarc=fail")
	check(bare, client.Continue, client.Reject, "dmarc=fail")
	p.SetZone(nameserver.Zone(t, strings.ReplaceAll(cached, "192.0.2.1", "192.0.2.9")))
	check(p, client.Continue, client.Continue, "dmarc=pass")
	p.Enforce.SetZone(p.DNS, nameserver.Zone(t, cached))
	check(p, client.Continue, client.Reject, "dmarc=pass")
	if changes != 2 {
		t.Errorf("%d configurations were changed", changes)
	}
}

// TestStartRefuses checks that a daemon that cannot start ends the test.
func TestStartRefuses(t *testing.T) {
	cfg := Config("127.0.0.1:53")
	cfg.Listen[0].Address = "inet:127.0.0.1:99999"
	if said := recorder.Run(t, func(tb testing.TB) { Start(tb, cfg) }); !strings.HasPrefix(said, "fatal: ") {
		t.Errorf("%q", said)
	}
}

// TestChangeDNS checks that a daemon with a cache forgets its answers before the change, and again after it.
func TestChangeDNS(t *testing.T) {
	const cached = "$TTL 3600\n" + zoneText
	z := nameserver.Zone(t, cached)
	server := nameserver.ServeZone(t, z, nameserver.Options{})
	cfg := Config(server.Addr())
	cfg.AuthservID, cfg.DNS.Cache.Size, cfg.Mode = "mx.here.example", 1<<20, policy.Monitor
	d := Start(t, cfg)
	send := func(want string) {
		t.Helper()
		res, err := d.Send(mta.Peer{Addr: netip.MustParseAddrPort("192.0.2.9:2525"), HELO: "x.example"},
			client.Envelope{From: "<a@bank.example>", To: []string{"<r@here.example>"}}, []byte("From: a@bank.example\r\n\r\nx\r\n"))
		if err != nil || len(res.Modifications) == 0 || !strings.Contains(res.Modifications[0].Value, want) {
			t.Errorf("%+v, %v, want %s", res, err, want)
		}
	}
	asked := func() (n int) {
		for _, q := range z.Queries() {
			if q == "bank.example TXT" {
				n++
			}
		}
		return n
	}
	send("dmarc=fail")
	send("dmarc=fail")
	if n := asked(); n != 1 {
		t.Errorf("asked %d times with a cache", n)
	}
	d.changeDNS(func() {
		send("dmarc=fail")
		if n := asked(); n != 2 {
			t.Errorf("asked %d times, want again before the change", n)
		}
		server.SetZone(nameserver.Zone(t, strings.ReplaceAll(cached, "192.0.2.1", "192.0.2.9")))
	})
	send("dmarc=pass")
}
