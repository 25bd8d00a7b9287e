package app

import (
	"io"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

// BenchmarkStore measures a message of a warm connection, through the whole daemon, without a store and
// with one. The messages count in one row of a report.
func BenchmarkStore(b *testing.B) {
	server := nameserver.Serve(b, reportZone, nameserver.Options{})
	for name, url := range map[string]string{"off": "", "on": "sqlite:" + filepath.Join(b.TempDir(), "store.db")} {
		b.Run(name, func(b *testing.B) {
			cfg := config.Default()
			cfg.Listen = []config.Listener{{Address: "inet:127.0.0.1:0"}}
			cfg.Admin.Listen, cfg.Log.Level, cfg.Store.URL = "", "error", url
			cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
			a, err := New(cfg, options(io.Discard))
			if err != nil {
				b.Fatal(err)
			}
			a.Start()
			defer a.Stop(b.Context())
			peer := mta.Peer{Name: "mail.bank.example", Addr: netip.MustParseAddrPort("192.0.2.1:25"), HELO: "mail.bank.example"}
			c, err := mta.Dial("tcp", a.Addrs()[0].String(), peer)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			mail := []byte("From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n")
			send := func() {
				res, err := c.SendMessage(client.Envelope{From: "<a@bank.example>", To: []string{"<r@here.example>"}}, mail)
				if err != nil || !res.Action.Delivers() {
					b.Fatalf("%+v, %v", res, err)
				}
			}
			send()
			time.Sleep(100 * time.Millisecond) // for what a start does in the background
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
	}
}
