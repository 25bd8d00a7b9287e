package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/readiness"
	"sekimori/internal/readiness/gather"
)

func newReadiness() *cobra.Command {
	var f storeFlags
	var format, language string
	o := gather.Options{}
	cmd := &cobra.Command{
		Use:   "readiness [--days N] [--format FORMAT]",
		Short: "Say whether the policies of authors may be enforced, and which rules come first",
		Long: `From monitor to enforce: say how much of the mail of the last days p=reject and
p=quarantine would have hit, whose mail that was, and what the present configuration
would have done with it. For each of the author domains with the most such mail it says
what the mail looks like, and why: the author's own, mail through a list or a forwarder,
a spoof, or unclear; with the id of an example for "sekimori explain --id". Then it
prints rules for policy.overrides that would keep honest mail from being hit. Look at
each of them before you use it.

The last word is one of three: enforce now, first some rules, or not yet.

The numbers come from the ledger in the store, and what mail looks like from decisions
in the history (history.what must not be off). When in doubt, mail is called unclear.
A message is called a spoof only by what a forger cannot make: the networks and the
keys of mail that passed.`,
		Example: `  sekimori readiness
  sekimori readiness --days 30 --json | jq -r '.proposed[].rule.id'
  sekimori readiness --format html --lang ja > readiness.html`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkDays(o.Days); err != nil {
				return err
			}
			if !slices.Contains(readiness.Languages, readiness.Language(language)) {
				return fmt.Errorf("--lang: %q is not a language; write en or ja", language)
			}
			switch {
			case f.json && cmd.Flags().Changed("format") && format != "json":
				return errors.New("--json and --format contradict each other; give one of them")
			case f.json:
				format = "json"
			case !slices.Contains([]string{"text", "json", "html"}, format):
				return fmt.Errorf("--format: %q is not a format; write text, json or html", format)
			case format != "html" && language != string(readiness.English):
				return errors.New("--lang is for --format html; text and JSON are in English")
			}
			report, err := f.readiness(cmd, o)
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return failed(writeJSON(cmd.OutOrStdout(), report))
			case "html":
				return failed(report.HTML(cmd.OutOrStdout(), readiness.Language(language)))
			}
			return failed(report.Text(cmd.OutOrStdout()))
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.IntVar(&o.Days, "days", 14, "the last days to look at, today included")
	flags.StringVar(&format, "format", "text", "text, json or html (one file to hand on)")
	flags.StringVar(&language, "lang", string(readiness.English), "the language of --format html: en or ja")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json", "html"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions([]string{"en", "ja"}, cobra.ShellCompDirectiveNoFileComp))
	f.addJSON(cmd)
	return cmd
}

// readiness makes the report from the store and the configuration.
func (f *storeFlags) readiness(cmd *cobra.Command, o gather.Options) (*readiness.Report, error) {
	cfg, store, err := f.store(cmd.Context())
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // nothing was written
	if o.Policy, err = app.Policy(cfg); err != nil {
		return nil, err
	}
	if cfg.History.What != history.Off {
		if o.History, err = archive.NewReader(func() history.Store { return store }); err != nil {
			return nil, failed(err)
		}
	}
	o.Ledger, o.Now = store.Ledger(), time.Now()
	report, err := gather.Report(cmd.Context(), o)
	return report, failed(err)
}
