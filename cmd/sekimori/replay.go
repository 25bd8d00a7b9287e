package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/received"
	"sekimori/internal/replay"
	"sekimori/internal/term"
)

// replayFlags are the values of the flags of the command replay.
type replayFlags struct {
	config, candidate, snapshot string
	ip, helo, from              string
	received                    int
	hosts                       []string
	retry, json                 bool
}

func newReplay() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay MBOX|MAILDIR|DIR|FILE.eml",
		Short: "Say what the daemon would have done with stored mail",
		Long: `Judge every message of an mbox, a Maildir or a directory of .eml files as the
daemon would have done on receipt. Files may be compressed by gzip. The output is
a table by author domain and verdict; with --candidate it also has the messages on
which a second configuration decides otherwise. Nothing is written but the DNS
snapshot.

The client's address, its HELO name, the time and the queue id are taken from
the Received field of the MTA that stands at the border (Postfix, Sendmail, Exim,
qmail, Exchange, CommuniGate, Courier and others):
  --trusted-host NAME  one's own hosts: of the fields they wrote on top, the
                       last before a client outside of trusted.networks
  --received N         the Nth field from the top
  --ip ADDR            none: every message came from there
The envelope sender comes from Return-Path, from an envelope-from comment, or from
the "From " line of the mbox or of the message's own file. The fields that one's
own hosts put on top of a message are taken off before it is judged. Mail of
trusted networks and of clients that logged in is skipped, as in the daemon. A
message whose client cannot be read is never skipped; it is counted as one that
cannot be judged. Recipients' consent (policy.recipients) counts if a Received
field says for whom the message was.

--dns-snapshot keeps every DNS answer in a file. A second run, or one that goes on
after an interruption, asks only for what is not in the file. Replay old mail
while the keys that signed it are still published. If a DNS answer does not come,
the message is judged without it and counted ("no DNS"); --retry-failures asks
again for what failed in an earlier run.

Every core is used, and the output does not depend on their number. GOMAXPROCS in
the environment sets another number.

A message that cannot be judged is named and skipped. The exit code is 1 if there
is such a message, or if more than 1 % of the messages lack a DNS answer.`,
		Example: `  sekimori replay /var/mail/archive.mbox --trusted-host mx.example.jp --dns-snapshot dns.jsonl
  sekimori replay ~/Maildir --received 1 --dns-snapshot dns.jsonl --candidate enforce.yaml
  sekimori replay spam/ --ip 192.0.2.1 --from x@example.com --json | jq .verdicts`,
		Args: arguments(1, 1, "one mbox, Maildir, directory or file"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", defaultConfig, "configuration that decides; the defaults if the default file is absent")
	flags.StringVar(&f.candidate, "candidate", "", "second configuration to compare with")
	flags.StringArrayVar(&f.hosts, "trusted-host", nil, "name after \"by\" in the Received fields of one's own hosts (repeatable)")
	flags.IntVar(&f.received, "received", 0, "number of the Received field that counts, from the top")
	flags.StringVar(&f.ip, "ip", "", "address of the client of every message")
	flags.StringVar(&f.helo, "helo", "", "with --ip: its HELO name")
	flags.StringVar(&f.from, "from", "", "envelope sender of every message; empty for the null sender")
	flags.StringVar(&f.snapshot, "dns-snapshot", "", "file of DNS answers to read and to add to")
	flags.BoolVar(&f.retry, "retry-failures", false, "with --dns-snapshot: ask again what failed in an earlier run")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	cmd.MarkFlagsOneRequired("trusted-host", "received", "ip")
	cmd.MarkFlagsMutuallyExclusive("trusted-host", "received", "ip")
	return cmd
}

// options makes the options for package replay from the flags. It does not set Source and
// Resolver.
func (f *replayFlags) options(cmd *cobra.Command) (o replay.Options, err error) {
	o.Origin = received.Origin{Received: f.received, HELO: f.helo}
	if cmd.Flags().Changed("from") {
		o.Origin.MailFrom = &f.from
	}
	switch {
	case f.ip != "":
		if o.Origin.Client, err = netip.ParseAddr(f.ip); err != nil {
			return o, fmt.Errorf("--ip: %q is not an IP address", f.ip)
		}
	case f.helo != "":
		return o, errors.New("--helo is for --ip; a Received field has its own")
	case len(f.hosts) == 0 && f.received < 1:
		return o, errors.New("--received counts from 1, the topmost")
	}
	if f.retry && f.snapshot == "" {
		return o, errors.New("--retry-failures is for --dns-snapshot, whose failures are asked for again")
	}
	if o.Origin.TrustedHosts, err = hostNames(f.hosts); err != nil {
		return o, err
	}
	if o.Config, err = loadOptional(f.config, cmd.Flags().Changed("config")); err != nil {
		return o, err
	}
	if f.candidate != "" {
		o.Candidate, err = config.LoadCandidate(f.candidate)
	}
	return o, err
}

// hostNames parses the values of --trusted-host.
func hostNames(hosts []string) (names []dns.Name, err error) {
	for _, h := range hosts {
		name, err := dns.ParseName(h)
		if err != nil || name == "" {
			return nil, fmt.Errorf("--trusted-host: %q is not a host name", h)
		}
		names = append(names, name)
	}
	return names, nil
}

func (f *replayFlags) run(cmd *cobra.Command, path string) error {
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	if o.Source, err = replay.Open(path); err != nil {
		return failed(err)
	}
	defer func() { _ = o.Source.Close() }() // the source was only read, so the error does not matter
	network, err := app.NewResolver(o.Config, nil, nil)
	if err != nil {
		return failed(err)
	}
	defer network.Close()
	o.Resolver = network
	var snapshot *replay.Snapshot
	if f.snapshot != "" {
		if snapshot, err = replay.OpenSnapshot(f.snapshot, network); err != nil {
			return failed(err)
		}
		if f.retry {
			snapshot.RetryFailures()
		}
		o.Resolver = snapshot
	}
	bar := term.NewBar(cmd.ErrOrStderr())
	o.Progress = func(done, total int64, messages int) {
		bar.Update(done, total, fmt.Sprintf("%d messages", messages))
	}
	summary, err := replay.Run(cmd.Context(), o)
	bar.Clear()
	if snapshot != nil {
		use, closeErr := snapshot.Close(cmd.Context().Err() != nil)
		err = errors.Join(err, closeErr)
		if summary != nil {
			summary.DNS = &use
		}
	}
	return f.print(cmd, summary, err)
}

// print prints the summary, even if err has ended the replay early. The error that it returns
// decides the exit code.
func (f *replayFlags) print(cmd *cobra.Command, summary *replay.Summary, err error) error {
	if summary != nil {
		write := summary.Text
		if f.json {
			write = func(out io.Writer) error { return writeJSON(out, summary) }
		}
		err = errors.Join(err, write(cmd.OutOrStdout()))
	}
	switch {
	case cmd.Context().Err() != nil && f.snapshot != "":
		return failed(fmt.Errorf("%w; the same command goes on from the snapshot", err))
	case err != nil:
		return failed(err)
	case summary.Bad > 0, !summary.Reliable():
		return failure{} // the summary says what is wrong
	}
	return nil
}
