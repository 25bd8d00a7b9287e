// Package daemon runs the whole daemon in the process of a test: real sockets
// on loopback for milter and DNS, the log in memory. For tests only.
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

// stopTime is for the sessions in flight at the end.
const stopTime = 10 * time.Second

// Config is the default configuration with a free port for milter, none for
// admin, and dns, an address with port, as the one name server. There is no
// cache: the next message may find another zone, and pays for its questions.
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
	// Addr is where it speaks milter, over TCP.
	Addr string
	Log  logs.Buffer

	app *app.App
}

// Start runs a daemon until the test ends, and then holds its log to JSON
// objects none of which is an error: a panic, which costs one message only,
// is logged as one.
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

// Stop ends the daemon; its log is complete then. A second Stop does nothing.
func (d *Daemon) Stop() {
	if d.app == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	d.app.Stop(ctx)
	d.app = nil
}

// Send gives the daemon a session with one message.
func (d *Daemon) Send(p mta.Peer, env client.Envelope, raw []byte) (client.Result, error) {
	return mta.Send("tcp", d.Addr, p, env, raw)
}
