// Package daemon runs the whole daemon within the test process. Milter and DNS use real sockets on
// loopback, and the log is kept in memory. For tests only.
package daemon

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

// stopTime is how long Stop waits for open sessions to end.
const stopTime = 10 * time.Second

// Config returns the default configuration, with a free TCP port for the milter, without an admin
// address, and with the name server at address dns (host:port). The DNS cache is off. A test changes the
// zone by SetZone, because a query of the message before may still be under way.
func Config(dns string) *config.Config {
	cfg := config.Default()
	cfg.Listen = []config.Listener{{Address: "inet:127.0.0.1:0"}}
	cfg.Admin.Listen = ""
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(dns)}}
	cfg.DNS.Cache.Size = 0
	return cfg
}

// Daemon is a running daemon and its log.
type Daemon struct {
	// Addr is the TCP address of the daemon's milter socket.
	Addr string
	Log  logs.Buffer

	app *app.App
}

// Start runs a daemon until the test ends. The test then fails if a line of the log is not a JSON
// object, has the level ERROR or reports a panic. (The daemon survives panics, so only the log
// shows them.)
func Start(tb testing.TB, cfg *config.Config) *Daemon {
	tb.Helper()
	d := &Daemon{}
	a, err := app.New(cfg, app.Options{Version: "test", Log: &d.Log, Now: time.Now, Registry: prometheus.NewRegistry()})
	if err != nil {
		tb.Fatal(err)
	}
	a.Start()
	d.app, d.Addr = a, a.Addrs()[0].String()
	tb.Cleanup(func() {
		d.Stop()
		for _, r := range d.Log.Records(tb, "") {
			if r["level"] == "ERROR" || r["msg"] == "panic" {
				tb.Errorf("the daemon logged an error: %v", r)
			}
		}
	})
	return d
}

// Stop stops the daemon. When Stop returns, the log is complete. Calling Stop again does nothing.
func (d *Daemon) Stop() {
	if d.app == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	d.app.Stop(ctx)
	d.app = nil
}

// SetZone replaces the zone of the daemon's name server. Messages that are sent afterwards get no answer
// from the zone before. On a busy host, a query of a message before may still come to the new zone.
func (d *Daemon) SetZone(s *nameserver.Server, z *zone.Zone) { d.changeDNS(func() { s.SetZone(z) }) }

// changeDNS calls change between two purges. The first ends the queries of the message before. The second is
// for those of its queries that began in between, because the end of a session takes a moment.
func (d *Daemon) changeDNS(change func()) {
	d.app.PurgeDNS()
	change()
	d.app.PurgeDNS()
}

// Send sends one message to the daemon, in a milter session of its own.
func (d *Daemon) Send(p mta.Peer, env client.Envelope, raw []byte) (client.Result, error) {
	return mta.Send("tcp", d.Addr, p, env, raw)
}
