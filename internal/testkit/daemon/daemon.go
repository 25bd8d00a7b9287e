// Package daemon runs the whole daemon in the process of a test, with real
// sockets on loopback for milter and DNS and the log in memory. For tests only.
package daemon

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/logs"
	"sekimori/internal/testkit/mta"
)

// stopTime is how long Stop waits for sessions that are still open.
const stopTime = 10 * time.Second

// Config returns the default configuration with a free port for milter, no
// admin address, and dns, an address with a port, as the only name server. The
// DNS cache is off, so the next message sees a zone that was changed and asks
// all its questions again.
func Config(dns string) *config.Config {
	cfg := config.Default()
	cfg.Listen = []config.Listener{{Address: "inet:127.0.0.1:0"}}
	cfg.Admin.Listen = ""
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(dns)}}
	cfg.DNS.Cache.Size = 0
	return cfg
}

// Daemon is a running daemon.
type Daemon struct {
	// Addr is the TCP address at which the daemon speaks milter.
	Addr string
	Log  logs.Buffer

	app *app.App
}

// Start runs a daemon until the test ends. The test then fails if a line of the
// log is not a JSON object, is an error, or tells of a panic: the daemon
// survives a panic, so only the log shows it.
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

// Stop ends the daemon. Its log is complete when Stop returns. A second Stop
// does nothing.
func (d *Daemon) Stop() {
	if d.app == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	d.app.Stop(ctx)
	d.app = nil
}

// Send plays a session with one message to the daemon.
func (d *Daemon) Send(p mta.Peer, env client.Envelope, raw []byte) (client.Result, error) {
	return mta.Send("tcp", d.Addr, p, env, raw)
}
