package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/report/identity"
	"sekimori/internal/reporting"
)

func newReportCheck() *cobra.Command {
	var path, selector string
	var ips []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether the mail with the reports would pass DMARC",
		Long: `Look up SPF, DMARC, the DKIM key and the MX of report.domain, and say whether mail
from there would pass DMARC: many receivers refuse reports that fail. Then ask the
mail server (report.mail.server) what it offers. Nothing is sent.

SPF is checked for the public addresses of this host if the mail server is on this
host, and else for those of the mail server. Behind NAT, or if the mail leaves from
elsewhere, write --ip.

Exit code 1 if the mail would not pass, or the mail server does not answer.`,
		Example: `  sekimori report check
  sekimori report check --ip 192.0.2.25 --ip 2001:db8::25 --selector r2026`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.LoadCandidate(path)
			if err != nil {
				return err
			}
			o, err := checkOptions(cfg, selector, ips)
			if err != nil {
				return err
			}
			r, err := app.NewResolver(cfg, nil, nil)
			if err != nil {
				return failed(err)
			}
			defer r.Close()
			o.Resolver, o.Interfaces = r, net.InterfaceAddrs
			checked := reporting.CheckMail(cmd.Context(), o)
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), checked)
			} else {
				err = checked.Text(cmd.OutOrStdout())
			}
			if err == nil && !checked.Passed() {
				return failure{}
			}
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "the daemon's configuration file")
	cmd.Flags().StringArrayVar(&ips, "ip", nil, "an address from which the reports leave (repeatable)")
	cmd.Flags().StringVar(&selector, "selector", "", "the DKIM selector of your mail server, if it signs and not the daemon")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func checkOptions(cfg *config.Config, selector string, ips []string) (o reporting.CheckOptions, err error) {
	c := cfg.Report
	if c.Domain == "" {
		return o, errors.New("report.domain is not set: it is the domain that the mail with the reports comes from")
	}
	o = reporting.CheckOptions{Server: c.Mail.Server, TLS: c.Mail.TLS, Login: c.Mail.User != "", Identity: identity.Options{
		Domain: dns.Name(c.Domain), Bounce: c.Mail.Bounce, Now: time.Now(),
	}}
	if o.Identity.Discovery, err = app.Discovery(cfg); err != nil {
		return o, failed(err)
	}
	for _, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return o, fmt.Errorf("--ip: %q is not an IP address", text)
		}
		o.Identity.Addresses = append(o.Identity.Addresses, ip.Unmap())
	}
	if own := c.Mail.DKIM.Selector; own != "" {
		if selector != "" {
			return o, errors.New("--selector is for a mail server that signs; here the daemon does, with report.mail.dkim.selector")
		}
		o.Identity.Selector, o.Identity.Signs = dns.Name(own), true
		if key, err := app.ReportKey(&cfg.Report); err == nil { // without it, the check says that the key cannot be read
			o.Identity.Public = key.Public()
		}
		return o, nil
	}
	if selector != "" {
		// ParseHostname wants two labels, and most selectors have one.
		below := "._domainkey." + strings.ToLower(string(c.Domain))
		name, err := dns.ParseHostname(selector + below)
		if err != nil {
			return o, fmt.Errorf("--selector: %q is not a selector", selector)
		}
		o.Identity.Selector = dns.Name(strings.TrimSuffix(string(name), below))
	}
	return o, nil
}
