// Package demo shows the daemon at work without a mail server or a network. It runs an
// authoritative DNS server for a few domains, the daemon, and a milter client that sends the same
// commands as Postfix. All three use loopback addresses. At the end it shows the DMARC report that one
// of the domains would get about the messages, from a store in a temporary file, and what the command
// readiness says after a generated month of mail.
package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/app"
	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/message"
	"sekimori/internal/milter/client"
)

// These are names and times that the demo uses.
const (
	authServID  = "mx.sekimori.example"
	dnsTimeout  = 150 * time.Millisecond // short, because one author's DNS servers never answer
	dnsBudget   = 500 * time.Millisecond
	drainTime   = 5 * time.Second
	clientPort  = 40025
	loopbackAny = "127.0.0.1:0"
	reported    = "bank.example" // the domain whose report is shown; its record has a rua
)

// Options say how the demonstration runs. Keep and JSON are flags of the command sekimori demo.
type Options struct {
	Version string
	Keep    bool // continue to run after the last message
	JSON    bool // write a JSON object per message
}

// Outcome says how one message was handled.
type Outcome struct {
	Title    string   `json:"title"`
	Client   string   `json:"client_ip"`
	HELO     string   `json:"helo"`
	MailFrom string   `json:"mail_from"`
	From     []string `json:"header_from"`
	Verdict  string   `json:"verdict"` // delivered, held, rejected or deferred
	Reply    string   `json:"reply,omitempty"`
	// Results are the Authentication-Results fields of the delivered message.
	Results []string `json:"authentication_results,omitempty"`
}

// The verdicts of an Outcome.
const (
	delivered = "delivered"
	held      = "held"
	rejected  = "rejected"
	deferred  = "deferred"
)

// Run sends the sample messages and writes an Outcome to out for each. If o.Keep is set, it then
// waits until ctx ends.
func Run(ctx context.Context, out io.Writer, o Options) error {
	z, mails, err := World(authServID)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sekimori-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	daemon, dnsServer, cfg, err := start(z, o.Version, filepath.Join(dir, "demo.db"))
	if err != nil {
		return err
	}
	defer func() { _ = dnsServer.Close() }()
	stop := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		daemon.Stop(ctx)
	})
	defer stop()
	milterAddr := daemon.Addrs()[0].String()
	if !o.JSON {
		fmt.Fprintf(out, "daemon on %s, DNS on %s, metrics on http://%s/metrics\n\n", milterAddr, dnsServer.Addr(), daemon.AdminAddr())
	}
	count := map[string]int{}
	for i, m := range mails {
		outcome, err := send(milterAddr, fmt.Sprintf("DEMO%02d", i+1), m)
		if err != nil {
			return err
		}
		if err := outcome.write(out, i+1, o.JSON); err != nil {
			return err
		}
		count[outcome.Verdict]++
	}
	if !o.JSON {
		fmt.Fprintf(out, "%d messages: %d delivered, %d held, %d rejected, %d deferred.\n", len(mails),
			count[delivered], count[held], count[rejected], count[deferred])
		if !o.Keep {
			stop() // the daemon writes its rows at the latest when it stops
			if err := showReport(ctx, out, cfg, o.Version); err != nil {
				return err
			}
			if err := showReadiness(ctx, out, dir, time.Now()); err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "Next: README.md puts the daemon behind Postfix or Sendmail; %q says why a stored message is decided as it is.\n",
			"sekimori explain FILE.eml --ip ADDRESS")
	}
	if o.Keep {
		if o.JSON {
			err := json.NewEncoder(out).Encode(map[string]string{"milter": milterAddr, "metrics": "http://" + daemon.AdminAddr() + "/metrics"})
			if err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}
		fmt.Fprintf(out, "staying up: milter inet:%s, console http://%s/; end with Ctrl-C\n", milterAddr, daemon.AdminAddr())
		<-ctx.Done()
	}
	return nil
}

// World returns the zone of the sample domains and the sample messages. The signatures of the
// messages verify with the keys in the zone. authServID is the name in which one message carries a
// forged result.
func World(authServID string) (*zone.Zone, []Mail, error) {
	k, err := generateKeys()
	if err != nil {
		return nil, nil, err
	}
	mails, err := corpus(k, authServID)
	if err != nil {
		return nil, nil, err
	}
	text, err := k.zone()
	if err != nil {
		return nil, nil, err
	}
	z, err := zone.Parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("demo: zone: %w", err)
	}
	return z, mails, nil
}

// start starts the DNS server and the daemon.
func start(z *zone.Zone, version, database string) (*app.App, *zone.Server, *config.Config, error) {
	server, err := zone.NewServer(z, loopbackAny)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("demo: DNS server: %w", err)
	}
	cfg := config.Default()
	cfg.Listen = []config.Listener{{Address: "inet:" + loopbackAny}}
	cfg.AuthservID = authServID
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
	cfg.DNS.Timeout = config.Duration(dnsTimeout)
	cfg.DNS.MessageBudget = config.Duration(dnsBudget)
	cfg.Admin.Listen = loopbackAny
	cfg.Store.URL = "sqlite:" + database
	cfg.Report.Organization, cfg.Report.Domain, cfg.Report.Contact = "Sekimori demo", "dmarc.sekimori.example", "postmaster@sekimori.example"
	cfg.Report.Aggregate.Always = []config.Pattern{reported} // in real life, a domain must be known for a week
	daemon, err := app.New(cfg, app.Options{Version: version, Log: io.Discard, Now: time.Now, Registry: prometheus.NewRegistry()})
	if err != nil {
		_ = server.Close()
		return nil, nil, nil, err
	}
	daemon.Start()
	return daemon, server, cfg, nil
}

// send sends one message in an SMTP session of its own.
func send(addr, queueID string, m Mail) (Outcome, error) {
	o := Outcome{Title: m.Title, Client: m.Client, HELO: m.HELO, MailFrom: m.From}
	c, err := client.Dial("tcp", addr)
	if err != nil {
		return o, fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		return o, fmt.Errorf("demo: %w", err)
	}
	peer := netip.AddrPortFrom(netip.MustParseAddr(m.Client), clientPort)
	if _, err := c.Connect(m.HELO, peer); err != nil {
		return o, fmt.Errorf("demo: %w", err)
	}
	if _, err := c.Helo(m.HELO); err != nil {
		return o, fmt.Errorf("demo: %w", err)
	}
	res, err := c.SendMessage(client.Envelope{From: "<" + m.From + ">", To: []string{"<" + m.To + ">"}, QueueID: queueID}, m.Raw)
	if err != nil {
		return o, fmt.Errorf("demo: %w", err)
	}
	o.judge(m.Raw, res)
	if err := c.Quit(); err != nil {
		return o, fmt.Errorf("demo: %w", err)
	}
	return o, nil
}

// judge sets the verdict: what Postfix would do with the message after the answer of the milter.
func (o *Outcome) judge(raw []byte, res client.Result) {
	header, _ := message.Parse(raw)
	for _, v := range header.Values("From") {
		o.From = append(o.From, strings.TrimSpace(v))
	}
	switch {
	case res.Action.Code >= 500 || res.Action.Kind == client.Reject:
		o.Verdict, o.Reply = rejected, res.Action.String()
		return
	case !res.Action.Delivers():
		o.Verdict, o.Reply = deferred, res.Action.String()
		return
	}
	o.Verdict = delivered
	fields := make([]client.Field, 0, len(header))
	for _, f := range header {
		fields = append(fields, client.Field(f))
	}
	for _, mod := range res.Modifications {
		if mod.Kind == client.Quarantine {
			o.Verdict, o.Reply = held, mod.Value
		}
	}
	for _, f := range client.Apply(fields, res.Modifications) {
		if strings.EqualFold(f.Name, authres.FieldName) {
			o.Results = append(o.Results, strings.TrimSpace(f.Value))
		}
	}
}

func (o *Outcome) write(out io.Writer, number int, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(o)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%2d. %s\n", number, o.Title)
	fmt.Fprintf(&b, "    %s %s <%s>\n", o.Client, o.HELO, o.MailFrom)
	for _, f := range o.From {
		fmt.Fprintf(&b, "    From: %s\n", f)
	}
	fmt.Fprintf(&b, "    => %s", strings.ToUpper(o.Verdict))
	if o.Reply != "" {
		fmt.Fprintf(&b, ": %s", o.Reply)
	}
	b.WriteString("\n")
	for _, r := range o.Results {
		lines := strings.ReplaceAll(r, "\r\n", "\n       ")
		fmt.Fprintf(&b, "       %s: %s\n", authres.FieldName, lines)
	}
	_, err := fmt.Fprintln(out, b.String())
	return err
}
