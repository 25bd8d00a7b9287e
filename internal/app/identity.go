package app

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/report/identity"
)

const (
	// identityEvery is how often it is looked up whether report mail passes DMARC, and identityAgain how
	// soon after a DNS failure.
	identityEvery = 6 * time.Hour
	identityAgain = 10 * time.Minute
	identityTime  = time.Minute // for all lookups
)

// watchIdentity asks check, until ctx ends, whether the mail with our reports passes DMARC. It says in the
// log what is wrong, when that changes.
func (a *App) watchIdentity(ctx context.Context, check func(context.Context) (identity.Result, error)) {
	said := ""
	for {
		result, err := check(ctx)
		if err != nil {
			a.log.Warn("whether report mail passes DMARC cannot be checked", "error", err)
			return
		}
		wait := identityEvery
		if result.Unknown {
			wait = identityAgain
		} else if ctx.Err() == nil {
			wrong := notAligned(result)
			a.reports.Aligned(!wrong)
			text := ""
			for _, f := range result.Findings {
				if f.Grade == identity.Fault || wrong && f.Grade != identity.Good {
					text += f.Text + "; " + f.Do + ". "
				}
			}
			if text != said && text != "" {
				a.log.Warn("report mail", "aligned", !wrong, "findings", text)
			}
			said = text
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

func (a *App) checkIdentity(ctx context.Context, g *generation) (r identity.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, identityTime)
	defer cancel()
	c := &g.cfg.Report
	o := identity.Options{
		Domain: dnsName(c.Domain), Bounce: c.Mail.Bounce, Selector: dns.Name(c.Mail.DKIM.Selector), Signs: c.Mail.DKIM.KeyFile != "",
		Addresses: a.leavesFrom(c.Mail.Server), Now: a.o.Now(),
	}
	if o.Discovery, err = Discovery(g.cfg); err != nil {
		return r, err
	}
	if o.Signs {
		key, err := ReportKey(c)
		if err != nil {
			return r, err
		}
		o.Public = key.Public()
	}
	return identity.Check(ctx, g.resolver, o), nil
}

// notAligned reports whether report mail certainly does not pass DMARC. What cannot be seen from here,
// such as the signature of the MTA, counts in favour.
func notAligned(r identity.Result) bool {
	if r.Aligned || r.Unknown {
		return false
	}
	worst := map[identity.Subject]identity.Grade{}
	for _, f := range r.Findings {
		if worst[f.Subject] != identity.Fault {
			worst[f.Subject] = cmp.Or(worst[f.Subject], f.Grade)
			if f.Grade == identity.Fault {
				worst[f.Subject] = f.Grade
			}
		}
	}
	return worst[identity.DMARC] == identity.Fault || worst[identity.SPF] == identity.Fault && worst[identity.DKIM] == identity.Fault
}

// leavesFrom returns the public addresses from which mail leaves that is handed to the server, or nil
// if they are not known.
func (a *App) leavesFrom(server string) (out []netip.Addr) {
	host, _, _ := net.SplitHostPort(server)
	ip, err := netip.ParseAddr(host)
	if err == nil && !ip.IsLoopback() {
		return []netip.Addr{ip}
	}
	if err != nil && host != "localhost" || a.o.Interfaces == nil {
		return nil
	}
	all, err := a.o.Interfaces()
	if err != nil {
		return nil
	}
	for _, one := range all {
		network, ok := one.(*net.IPNet)
		if !ok {
			continue
		}
		ip, _ := netip.AddrFromSlice(network.IP)
		if ip = ip.Unmap(); ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	return out
}

// sends reports whether a generation sends reports, so that its identity matters.
func sends(cfg *config.Config) bool { return cfg.Store.On() && cfg.Report.Sends() }
