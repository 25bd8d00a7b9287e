package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/admin"
	"sekimori/internal/app"
	"sekimori/internal/forwarders"
	"sekimori/internal/recent"
)

// forwardersFlags are the values of the flags of the command forwarders.
type forwardersFlags struct {
	admin, owner string
	least        int
	json         bool
}

func newForwarders() *cobra.Command {
	var f forwardersFlags
	cmd := &cobra.Command{
		Use:   "forwarders [LOG ...]",
		Short: "Propose rules for hosts that forward mail, for you to confirm",
		Long: `Read the daemon's log in JSON (files, or standard input), or with --admin the
last 500 decisions of the running daemon, and look for hosts through which mail
comes that fails DMARC on the way: forwarders and mailing lists. Each is printed
with its volume, with how its failures look, and as a rule of policy.overrides
bound to evidence: ARC sealer, DKIM d=, SRS domain, verified client name or
network.

Confidence is by evidence that a spoofer cannot write: mail of several authors
whose signatures survived came through the host too. Where SPF of an author says
that the host may not send for it, no rule accepts its mail but quarantines it.
Every rule is commented out: take the comment signs off those of hosts you know.`,
		Example: `  journalctl -u sekimori -o cat --since -30days | sekimori forwarders > forwarders.yaml
  sekimori forwarders /var/log/sekimori.json --owner postmaster@example.jp --min 20
  sekimori forwarders --admin http://127.0.0.1:8892 --json`,
		RunE: f.run,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.admin, "admin", "", "URL of a running daemon's admin address, to read its recent decisions")
	flags.StringVar(&f.owner, "owner", "postmaster", "who answers for the rules")
	flags.IntVar(&f.least, "min", 5, "failures a host must have to be proposed")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

// foundForwarders is the JSON output of the command.
type foundForwarders struct {
	// Records is the number of messages that were counted. Dropped is how many of them were left
	// out because there were too many sources to remember.
	Records   int                   `json:"records"`
	Dropped   int                   `json:"dropped"`
	Proposals []forwarders.Proposal `json:"proposals"`
}

func (f *forwardersFlags) run(cmd *cobra.Command, args []string) error {
	if f.admin != "" && len(args) > 0 {
		return errors.New("a log cannot be combined with --admin; give one of them")
	}
	if f.least < 1 {
		return errors.New("--min must be at least 1")
	}
	finder := forwarders.New()
	if err := f.read(cmd, args, finder); err != nil {
		return err
	}
	if finder.Records == 0 {
		return failed(errors.New("there is no record of an evaluated message; give the daemon's log in JSON (log.format: json)"))
	}
	found := foundForwarders{finder.Records, finder.Dropped, forwarders.Propose(finder.Sources(f.least), f.owner, time.Now())}
	if f.json {
		return failed(writeJSON(cmd.OutOrStdout(), found))
	}
	return failed(forwarders.WriteYAML(cmd.OutOrStdout(), found.Proposals))
}

func (f *forwardersFlags) read(cmd *cobra.Command, args []string, finder *forwarders.Finder) error {
	if f.admin != "" {
		client, err := admin.NewClient(f.admin)
		if err != nil {
			return err
		}
		var answer recent.Answer
		if err := client.Get(cmd.Context(), app.DecisionsPath, url.Values{"limit": {"500"}}, &answer); err != nil {
			return failed(err)
		}
		for _, d := range answer.Decisions {
			finder.AddDecision(d)
		}
		return nil
	}
	if len(args) == 0 {
		return failed(finder.ReadLog(cmd.InOrStdin()))
	}
	for _, path := range args {
		if err := readLog(path, finder); err != nil {
			return failed(err)
		}
	}
	return nil
}

func readLog(path string, finder *forwarders.Finder) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer file.Close()
	if err := finder.ReadLog(file); err != nil {
		return fmt.Errorf("read log %s: %w", path, err)
	}
	return nil
}
