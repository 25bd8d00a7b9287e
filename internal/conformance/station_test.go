// Package conformance runs the published suites through the whole daemon: the
// MTA's side of milter in, DNS over UDP and TCP, Authentication-Results out.
// The same suites run on the evaluators alone in their own packages.
package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dns/dnstest"
	"sekimori/internal/milter/client"
)

const (
	// authServID is the daemons'.
	authServID = "mx.sekimori.example"
	// dnsTimeout is for one try; silent servers cost a row two of them.
	dnsTimeout = time.Second
	// stopTime is for the sessions in flight at the end: there are none.
	stopTime = 10 * time.Second
)

// station is a DNS server and two daemons that ask it: one in monitor mode,
// which labels whatever comes, and one that enforces.
type station struct {
	dns      *dnstest.Server
	zone     *dnstest.Zone // of the row
	labelled *daemon
	enforced *daemon
}

// daemon is one running app.
type daemon struct {
	app *app.App
	log buffer
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newStation starts everything; the test's end stops it and looks for panics.
func newStation(t *testing.T, change func(*config.Config)) *station {
	t.Helper()
	server, err := dnstest.NewServer(dnstest.New(), dnstest.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	s := &station{dns: server}
	for _, mode := range []string{config.ModeMonitor, config.ModeEnforce} {
		cfg := config.Default()
		cfg.Mode = mode
		cfg.Listen = []config.Listener{{Address: "inet:127.0.0.1:0"}}
		cfg.AuthservID = authServID
		cfg.Trusted = config.Trusted{} // suites have clients on 127.0.0.1
		cfg.Admin.Listen = ""
		cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
		cfg.DNS.Timeout = config.Duration(dnsTimeout)
		cfg.DNS.Cache.Size = 0 // the next row has another zone
		cfg.Policy.Reject = "always"
		if change != nil {
			change(cfg)
		}
		d := newDaemon(t, cfg)
		if mode == config.ModeMonitor {
			s.labelled = d
		} else {
			s.enforced = d
		}
	}
	return s
}

func newDaemon(t *testing.T, cfg *config.Config) *daemon {
	t.Helper()
	d := &daemon{}
	var err error
	if d.app, err = app.New(cfg, app.Options{Version: "conformance", Log: &d.log}); err != nil {
		t.Fatal(err)
	}
	d.app.Start()
	t.Cleanup(func() {
		d.stop()
		for line := range strings.Lines(d.log.String()) {
			if strings.Contains(line, `"level":"ERROR"`) {
				t.Errorf("the daemon logged an error: %s", line)
			}
		}
	})
	return d
}

// stop ends the daemon; the log is complete then. A second stop does nothing.
func (d *daemon) stop() {
	if d.app == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	d.app.Stop(ctx)
	d.app = nil
}

// records returns the log's records of evaluated messages by queue id.
func (d *daemon) records(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for line := range strings.Lines(d.log.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("log line is no JSON: %q", line)
		}
		if id, ok := r["queue_id"].(string); ok && r["msg"] == "evaluated" {
			out[id] = r
		}
	}
	return out
}

// mail is one message and its SMTP session.
type mail struct {
	ip      string // "" is a client whose address the MTA does not know
	helo    string // "" sends none
	from    string // as in MAIL, with brackets
	queueID string
	raw     []byte
}

// outcome is what became of a message.
type outcome struct {
	client.Result
	header []client.Field // as the reader gets it; of a delivered message only
	label  authres.Field  // ours
	held   bool           // quarantined
}

// send plays the MTA. A delivered message must carry our label on top, fit to
// be parsed, and none other may claim to be ours: that is an error here, for
// every row of every suite.
func (d *daemon) send(m mail) (outcome, error) {
	c, err := client.Dial("tcp", d.app.Addrs()[0].String())
	if err != nil {
		return outcome{}, err
	}
	defer c.Close()
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		return outcome{}, err
	}
	var peer netip.AddrPort
	if m.ip != "" {
		addr, err := netip.ParseAddr(m.ip)
		if err != nil {
			return outcome{}, err
		}
		peer = netip.AddrPortFrom(addr, 40025)
	}
	if _, err := c.Connect("unknown", peer); err != nil {
		return outcome{}, err
	}
	if m.helo != "" {
		if _, err := c.Helo(m.helo); err != nil {
			return outcome{}, err
		}
	}
	if m.queueID == "" {
		m.queueID = "4Q"
	}
	res, err := c.SendMessage(client.Envelope{From: m.from, To: []string{"<rcpt@receiver.example>"}, QueueID: m.queueID}, m.raw)
	if err != nil {
		return outcome{}, err
	}
	if err := c.Quit(); err != nil {
		return outcome{}, err
	}
	o := outcome{Result: res}
	for _, mod := range res.Modifications {
		o.held = o.held || mod.Kind == client.Quarantine
	}
	if !res.Action.Delivers() {
		return o, nil
	}
	return o, o.read(m.raw)
}

// read takes the header apart as the next reader would.
func (o *outcome) read(raw []byte) error {
	fields, _ := client.Split(raw)
	o.header = client.Apply(fields, o.Modifications)
	if len(o.header) == 0 || o.header[0].Name != authres.FieldName {
		return fmt.Errorf("our field is not on top: %q", o.header)
	}
	var err error
	if o.label, err = authres.Parse(o.header[0].Value); err != nil {
		return fmt.Errorf("our field does not parse: %w\n%s", err, o.header[0].Value)
	}
	if o.label.AuthServID != authServID {
		return fmt.Errorf("authserv-id %q", o.label.AuthServID)
	}
	for _, f := range o.header[1:] {
		if strings.EqualFold(f.Name, authres.FieldName) && authres.ClaimsID(f.Value, authServID) {
			return fmt.Errorf("another field claims to be ours: %q", f.Value)
		}
	}
	return nil
}

// results are the label's entries of one method, at least one.
func (o *outcome) results(method string) ([]authres.Result, error) {
	var out []authres.Result
	for _, r := range o.label.Results {
		if r.Method == method {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no %s in the label %+v", method, o.label)
	}
	return out, nil
}

// word is the one result of a method.
func (o *outcome) word(method string) (authres.Result, error) {
	results, err := o.results(method)
	if err != nil {
		return authres.Result{}, err
	}
	if len(results) != 1 {
		return authres.Result{}, fmt.Errorf("several results of %s: %+v", method, results)
	}
	return results[0], nil
}

// property is a result's value for ptype.name, "" if there is none.
func property(r authres.Result, ptype authres.PType, name string) string {
	for _, p := range r.Properties {
		if p.Type == ptype && p.Name == name {
			return p.Value
		}
	}
	return ""
}

// label sends m to the daemon that labels everything.
func (s *station) label(m mail) (outcome, error) {
	o, err := s.labelled.send(m)
	if err == nil && !o.Action.Delivers() {
		err = fmt.Errorf("monitor mode answers %s", o.Action)
	}
	return o, err
}
