package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/mtaconf"
	"sekimori/internal/policy"
	"sekimori/internal/resolver"
	"sekimori/internal/status"
)

// Options say what Run looks at.
type Options struct {
	Config *config.Config
	// ConfigFile is the file of Config; it need not exist. Its age says for how long the mode
	// has not changed.
	ConfigFile string
	// PostfixDir is a configuration directory of Postfix, and SendmailCF the file of Sendmail. If
	// both are "", Run looks for the MTA of this host.
	PostfixDir, SendmailCF string
	// Status asks the running daemon.
	Status     func(context.Context) (*status.Status, error)
	ResolvConf string
	Now        time.Time
}

// defaultSendmailCF is where Sendmail looks for its configuration.
const defaultSendmailCF = "/etc/mail/sendmail.cf"

// Run looks at everything that it can look at.
func Run(ctx context.Context, o Options) *Report {
	r := &Report{Findings: []Finding{}, Looked: []string{}, NotLooked: []string{}}
	running := askDaemon(ctx, o, r)
	for _, p := range probeAll(ctx, o, r) {
		found, notes := JudgeDNS(p)
		r.found(found...)
		for _, note := range notes {
			r.skipped("%s", note)
		}
		r.looked("the DNS server %s", p.Server)
	}
	checkMTA(ctx, o, ours(ctx, o, running), r)
	if running != nil {
		r.found(CheckSeen(running)...)
	}
	checkMode(o, running, r)
	return r
}

// askDaemon asks the running daemon. It returns nil if none answers.
func askDaemon(ctx context.Context, o Options, r *Report) *status.Status {
	s, err := o.Status(ctx)
	if err != nil {
		r.skipped("what the daemon has seen: %s", plain(err))
		return nil
	}
	r.looked("the running daemon (%s, mode %s, up %v)", s.Version, s.Mode, s.Uptime.Round(time.Second))
	return s
}

// plain returns the text of an error without the name of the package at its beginning.
func plain(err error) string {
	text := err.Error()
	for _, name := range []string{"admin: ", "mtaconf: ", "resolver: "} {
		text = strings.TrimPrefix(text, name)
	}
	return text
}

func probeAll(ctx context.Context, o Options, r *Report) []*Probes {
	servers, err := servers(o)
	if err != nil {
		r.skipped("the DNS servers: %s", plain(err))
		return nil
	}
	out := make([]*Probes, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { out[i] = Probe(ctx, s, time.Duration(o.Config.DNS.Timeout)) })
	}
	wg.Wait()
	return out
}

// servers returns the DNS servers that the daemon asks.
func servers(o Options) ([]Server, error) {
	var out []Server
	for _, s := range o.Config.DNS.Servers {
		name := s.Name
		if name == "" {
			name = s.Addr().WithZone("").String()
		}
		out = append(out, Server{Shown: s.String(), Addr: s.AddrPort, TLS: s.TLS, Name: name})
	}
	if len(out) > 0 {
		return out, nil
	}
	list, err := resolver.ServersFromResolvConf(o.ResolvConf)
	for _, s := range list {
		out = append(out, Server{Shown: s.String(), Addr: s})
	}
	return out, err
}

// ours gathers what the judges of the MTA need. If the daemon runs, it knows best where it listens.
func ours(ctx context.Context, o Options, running *status.Status) *Ours {
	cfg := o.Config
	out := &Ours{
		Enforce: cfg.Mode == policy.Enforce, AuthservID: cfg.AuthservID,
		Budget: time.Duration(cfg.DNS.MessageBudget), Idle: time.Duration(cfg.Limits.IdleTimeout),
		Own: ownAddress(), Same: sameFile, ReadFile: readTable, Ask: asks(ctx),
		Trusts: func(n netip.Prefix) bool {
			for _, t := range cfg.Trusted.Networks {
				if t.Bits() <= n.Bits() && t.Contains(n.Addr()) {
					return true
				}
			}
			return false
		},
	}
	var listen []string
	if running != nil {
		listen = running.Listen
	}
	if len(listen) == 0 {
		for _, l := range cfg.Listen {
			listen = append(listen, l.Address)
		}
	}
	for _, text := range listen {
		if a, ok := ParseListen(text); ok {
			out.Listen = append(out.Listen, a)
		} else {
			out.Unknown = true
		}
	}
	return out
}

// checkMTA judges the configuration of the MTA that o names, or of the one on this host.
func checkMTA(ctx context.Context, o Options, ours *Ours, r *Report) {
	file := o.SendmailCF
	if file == "" {
		p, err := mtaconf.ReadPostfix(ctx, o.PostfixDir)
		switch {
		case err == nil:
			checkPostfix(p, ours, r)
			return
		case !errors.Is(err, mtaconf.ErrNoPostfix) || o.PostfixDir != "":
			r.skipped("the configuration of Postfix: %s", plain(err))
			return
		}
		file = defaultSendmailCF
	}
	s, err := mtaconf.ReadSendmail(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.SendmailCF == "":
		r.skipped("the MTA: this host has neither postconf nor %s; name another place with --postfix-config-dir or --sendmail-cf", file)
	case err != nil:
		r.skipped("the configuration of Sendmail: %s", plain(err))
	default:
		ours.Socket = func(path string) SocketFile { return socketFile(path, runAs(s)) }
		found, notes := CheckSendmail(s, ours)
		r.found(found...)
		r.NotLooked = append(r.NotLooked, notes...)
		r.looked("Sendmail's %s", file)
	}
}

// runAs returns the user as whom Sendmail connects, or "" for root.
func runAs(s *mtaconf.Sendmail) string {
	name, _, _ := strings.Cut(s.Options["RunAsUser"], ":")
	return name
}

func checkPostfix(p *mtaconf.Postfix, ours *Ours, r *Report) {
	ours.Socket = func(path string) SocketFile { return socketFile(path, p.Params["mail_owner"]) }
	found, notes := CheckPostfix(p, ours)
	r.found(found...)
	r.NotLooked = append(r.NotLooked, notes...)
	r.looked("Postfix %s in %s", p.Params["mail_version"], p.Params["config_directory"])
}

// checkMode looks at the age of the configuration file, unless the daemon itself says that it has
// been in monitor mode for a long time.
func checkMode(o Options, running *status.Status, r *Report) {
	info, err := os.Stat(o.ConfigFile)
	if err != nil {
		return // there is no file ("")
	}
	for _, f := range judgeMode(o.Config.Mode == policy.Monitor, info.ModTime(), o.Now) {
		if running == nil || !slices.Contains(running.Topology, f.Kind) {
			r.found(f)
		}
	}
}
