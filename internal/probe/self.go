package probe

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/demo"
	"sekimori/internal/dns/zone"
	"sekimori/internal/judge"
	"sekimori/internal/message"
)

// The private daemon waits less long for DNS than the configuration says, because the servers of
// one domain never answer.
const (
	selfTimeout = 150 * time.Millisecond
	selfBudget  = 500 * time.Millisecond
	selfStop    = 5 * time.Second // how long its sessions may take to end
)

// selfResults are the DMARC results of the messages. They follow from the zone, whatever the
// configuration is.
var selfResults = map[string]string{demo.Pass: "pass", demo.Spoof: "fail", demo.Forged: "fail", demo.Silent: noAnswer}

// Self starts a second daemon in this process, with the configuration of o on a private socket and
// with the DNS zone of the demo, and plays messages whose results are known. The running daemon
// cannot be asked about these domains, because nothing lets a client put DNS into it.
//
// The private daemon has no admin address, and its DNS servers and the time to wait for them are
// not those of the configuration. Everything else is as configured.
func Self(ctx context.Context, o Options) (_ *Report, err error) {
	z, mails, err := demo.World(o.Config.ServID())
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sekimori-probe")
	if err != nil {
		return nil, fmt.Errorf("probe: directory for the private socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	began := time.Now()
	cfg, stop, err := startPrivate(o.Config, z, filepath.Join(dir, "milter.sock"))
	if err != nil {
		return nil, err
	}
	defer stop()
	o.Config, o.Resolver = cfg, z
	p, err := newProber(o)
	if err != nil {
		return nil, err
	}
	defer p.end()
	p.began, p.target = began, Target{"unix", strings.TrimPrefix(cfg.Listen[0].Address, "unix:")}
	p.known = selfResults
	p.report.Target = "a private daemon with the same configuration"
	for _, m := range selfMails(mails, cfg) {
		if err := p.play(ctx, m); err != nil {
			return nil, err
		}
	}
	return p.done(), nil
}

// startPrivate starts a daemon on a unix socket that asks the zone z.
func startPrivate(of *config.Config, z *zone.Zone, socket string) (*config.Config, func(), error) {
	server, err := zone.NewServer(z, "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("probe: DNS server: %w", err)
	}
	cfg := *of
	cfg.Listen = []config.Listener{{Address: "unix:" + socket}}
	cfg.Admin.Listen = ""
	cfg.DNS.Servers = []config.Server{{AddrPort: netip.MustParseAddrPort(server.Addr())}}
	cfg.DNS.Hedge = 0 // a hedged query needs two servers
	cfg.DNS.Timeout, cfg.DNS.MessageBudget = config.Duration(selfTimeout), config.Duration(selfBudget)
	daemon, err := app.New(&cfg, app.Options{Version: "probe", Log: io.Discard, Now: time.Now, Registry: prometheus.NewRegistry()})
	if err != nil {
		_ = server.Close()
		return nil, nil, fmt.Errorf("probe: the private daemon does not start: %w", err)
	}
	daemon.Start()
	return &cfg, func() {
		ctx, cancel := context.WithTimeout(context.Background(), selfStop)
		defer cancel()
		daemon.Stop(ctx)
		_ = server.Close()
	}, nil
}

// selfMails returns those messages of the demo that have a name, and one with more header fields
// than the configuration allows.
func selfMails(mails []demo.Mail, cfg *config.Config) (out []Mail) {
	for _, m := range mails {
		if m.Name == "" {
			continue
		}
		one := Mail{
			Name: m.Name, Title: m.Title, Client: netip.MustParseAddr(m.Client), HELO: m.HELO,
			MailFrom: m.From, Recipient: m.To, Raw: m.Raw,
		}
		header, _ := message.Parse(m.Raw)
		for from := range header.All("From") {
			one.From = strings.TrimSpace(from)
		}
		out = append(out, one)
		if m.Name == demo.Pass {
			one.Name, one.Title = "oversize", "the same mail with more header fields than limits.header_fields"
			one.Raw = append([]byte(strings.Repeat("X-Probe: 1\r\n", cfg.Limits.HeaderFields)), m.Raw...)
			out = append(out, one)
		}
	}
	return out
}

// checkResult compares the DMARC result with the one that follows from the zone. want is "" if no
// result follows.
func (p *Play) checkResult(want string, d *judge.Decision) {
	if d.Evaluation == nil || want == "" {
		return
	}
	if got := string(d.Evaluation.DMARC.Result); got != want {
		p.problem(fmt.Sprintf("The DMARC result is %s, but the zone means %s.", got, want), "Please report this as a bug.")
	}
}
