package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/probe"
)

// quickTime bounds the work of "probe --quick". With the start of the program it stays below one
// second.
const quickTime = 800 * time.Millisecond

// probeFlags are the values of the flags of the command probe.
type probeFlags struct {
	config, socket, client, rcpt, smtp string
	domains                            []string
	self, quick, json                  bool
}

func newProbe() *cobra.Command {
	var f probeFlags
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Send messages to the running daemon as an MTA does, and say whether the answers are right",
		Long: `Play an MTA: connect to the daemon's milter socket, send messages, and say for each
what was sent, what came back (reply and label), what the configuration means, and
what to do if these differ. Nothing is delivered. The messages claim to come from
an address for documentation, such as 203.0.113.66, so the command also works on a
laptop.

The authors are at the domain of this host (example.com if it has none) or at
those that --domain names: mail that passes, if an address that SPF allows is
found; the same with results forged in our name; and a spoof.

  --self   start a private daemon with the same configuration and a DNS zone of its
           own, and play a pass, a message over a limit, a spoof, a forged result
           and a domain whose DNS servers are silent
  --quick  for monitoring: one message that needs no DNS, in less than a second
  --smtp   send one message through the MTA to the mailbox --rcpt, and say what to
           look for there. If the MTA offers XCLIENT to this host, the message
           comes from a stranger's address. The message is mail and counts as mail

The daemon counts the messages of a probe only in the series
sekimori_probe_messages_total, and marks them in its log by probe=true. They are
in no other metric about messages, and not among the recent decisions.

Exit code 0 if everything came back as the configuration means, 1 if not, 2 for
wrong use, or if the daemon cannot be reached.`,
		Example: `  sekimori probe
  sekimori probe --domain example.jp --domain example.com --json
  sekimori probe --self
  sekimori probe --quick --socket unix:/var/spool/postfix/sekimori/milter.sock
  sekimori probe --smtp mx.example.jp --rcpt ann@example.jp`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", defaultConfig, "configuration that says what is meant; the defaults if the default file is absent")
	flags.StringVar(&f.socket, "socket", "",
		"the daemon's socket, such as unix:/run/sekimori/milter.sock or inet:127.0.0.1:8891 (default: the key listen)")
	flags.StringArrayVar(&f.domains, "domain", nil, "domain of the authors (repeatable)")
	flags.StringVar(&f.client, "client", "", "address that the messages claim to come from")
	flags.StringVar(&f.rcpt, "rcpt", "", "recipient (default: postmaster of the author's domain)")
	flags.StringVar(&f.smtp, "smtp", "", "send through the MTA at HOST or HOST:PORT")
	flags.BoolVar(&f.self, "self", false, "play known messages to a private daemon with the same configuration")
	flags.BoolVar(&f.quick, "quick", false, "one message that needs no DNS, in less than a second")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("self", "quick", "smtp")
	cmd.MarkFlagsMutuallyExclusive("self", "socket")
	cmd.MarkFlagsMutuallyExclusive("smtp", "socket")
	cmd.MarkFlagsMutuallyExclusive("self", "client")
	cmd.MarkFlagsMutuallyExclusive("self", "domain")
	cmd.MarkFlagsMutuallyExclusive("self", "rcpt")
	return cmd
}

func (f *probeFlags) run(cmd *cobra.Command) error {
	ctx, cancel := cmd.Context(), func() {}
	if f.quick {
		ctx, cancel = context.WithTimeout(ctx, quickTime)
	}
	defer cancel()
	o, err := f.options(cmd.Flags().Changed("config"))
	if err != nil {
		return err
	}
	report, err := f.send(ctx, o)
	if err != nil && f.json {
		// Monitoring that reads JSON gets JSON even if nothing could be sent.
		if err := writeJSON(cmd.OutOrStdout(), &probe.Report{Mode: o.Config.Mode, Error: plain(err.Error())}); err != nil {
			return failed(err)
		}
	}
	if err != nil {
		return failure{message: err.Error(), err: err, code: exitUsage}
	}
	write := report.Text
	if f.json {
		write = func(w io.Writer) error { return writeJSON(w, report) }
	}
	if err := write(cmd.OutOrStdout()); err != nil {
		return failed(err)
	}
	if !report.OK {
		return failure{} // the report says what is wrong
	}
	return nil
}

// send does what the flags ask for.
func (f *probeFlags) send(ctx context.Context, o probe.Options) (*probe.Report, error) {
	switch {
	case f.self:
		return probe.Self(ctx, o)
	case f.quick:
		return probe.Quick(ctx, o)
	case f.smtp != "":
		return probe.OverSMTP(ctx, o, f.smtp)
	}
	return probe.Run(ctx, o)
}

func (f *probeFlags) options(named bool) (o probe.Options, err error) {
	o = probe.Options{Socket: f.socket, Recipient: strings.Trim(f.rcpt, "<>")}
	if strings.ContainsAny(o.Recipient, "<> \t\r\n") {
		return o, fmt.Errorf("--rcpt: %q is not an address", f.rcpt)
	}
	if f.client != "" {
		if o.Client, err = netip.ParseAddr(f.client); err != nil {
			return o, fmt.Errorf("--client: %q is not an IP address", f.client)
		}
	}
	for _, d := range f.domains {
		name, err := dns.ParseHostname(d)
		if err != nil {
			return o, fmt.Errorf("--domain: %s; write a domain such as example.jp", strings.TrimPrefix(err.Error(), "dns: "))
		}
		o.Domains = append(o.Domains, name)
	}
	if f.smtp != "" && o.Recipient == "" {
		return o, errors.New("--smtp needs --rcpt ADDR: a mailbox into which you can look")
	}
	if named {
		o.Config, err = config.Load(f.config)
	} else {
		o.Config, err = loadOptional(f.config, false)
	}
	return o, err
}
