package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/printable"
	"sekimori/internal/stats"
	storage "sekimori/internal/store"
)

// statsFlags are the values of the flags of the command stats.
type statsFlags struct {
	config, month, group, format, lang string
	classes                            []string
}

func newStats() *cobra.Command {
	var f statsFlags
	cmd := &cobra.Command{
		Use:   "stats [--month 2026-11|this|last]",
		Short: "Print the monthly statistics of mail authentication",
		Long: `Add up what the daemons of the store counted in a month (in UTC): the seven results
of SPF, the results of DKIM and DMARC, DMARC by published policy, the share of mail
without authentication, what was rejected, quarantined or decided otherwise than the
author asks for, and why; author domains by policy and class; clients by country; and
all of it by day.

Countries are counted since geo.country names a file. The classes are the suffixes of
stats.classes, or of --class, such as co.jp; they hold for past months too.

The html page is one file with charts, without script, to be printed or handed on.
stats.md in /usr/share/doc/sekimori says what each number means. As root the command
becomes the daemon's user before it opens the store.`,
		Example: `  sekimori stats
  sekimori stats --month last --format html --lang ja > stats.html
  sekimori stats --month 2026-11 --class co.jp,go.jp,ac.jp --format csv > stats.csv`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", defaultConfig, "the daemon's configuration file")
	flags.StringVar(&f.month, "month", "this", "the month, such as 2026-11, this or last")
	flags.StringVar(&f.group, "group", "", "only hosts of this ledger.group")
	flags.StringSliceVar(&f.classes, "class", nil, "suffixes to count author domains by, such as co.jp,go.jp, instead of stats.classes")
	flags.StringVar(&f.format, "format", "text", "text, csv, json or html")
	flags.StringVar(&f.lang, "lang", "en", "language of the html page: en or ja")
	_ = cmd.RegisterFlagCompletionFunc("month", cobra.FixedCompletions([]string{"this", "last"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// options makes the options of the statistics from the flags and the configuration.
func (f *statsFlags) options(now time.Time) (o stats.Options, cfg *config.Config, err error) {
	if !slices.Contains([]string{"text", "csv", "json", "html"}, f.format) {
		return o, nil, fmt.Errorf("--format: %q is not text, csv, json or html", f.format)
	}
	if !slices.Contains(stats.Langs, stats.Lang(f.lang)) {
		return o, nil, fmt.Errorf("--lang: %q is not en or ja", f.lang)
	}
	if f.format != "html" && f.lang != "en" {
		return o, nil, errors.New("--lang is for --format html; the others are in English")
	}
	o.Now, o.Group = now, f.group
	if o.Month, err = stats.ParseMonth(f.month, now); err != nil {
		return o, nil, fmt.Errorf("--month: %w", err)
	}
	for _, class := range f.classes {
		name, ok := config.Suffix(class)
		if !ok || slices.Contains(o.Classes, name) {
			return o, nil, fmt.Errorf("--class: %q is not a domain, or is there twice", class)
		}
		o.Classes = append(o.Classes, name)
	}
	if len(o.Classes) > config.MaxClasses {
		return o, nil, fmt.Errorf("--class: there are %d suffixes; name at most %d", len(o.Classes), config.MaxClasses)
	}
	if cfg, err = config.LoadCandidate(f.config); err != nil {
		return o, nil, err
	}
	if !cfg.Store.On() {
		return o, nil, errors.New("store.url is empty in the configuration, so nothing is counted; name a store there first (stats.md)")
	}
	if len(o.Classes) == 0 {
		o.Classes = cfg.Stats.Suffixes()
	}
	return o, cfg, nil
}

func (f *statsFlags) run(cmd *cobra.Command) error {
	now := time.Now()
	o, cfg, err := f.options(now)
	if err != nil {
		return err
	}
	// PostgreSQL may know a user of its unix socket by the name in the system ("peer").
	if err := becomeOwner(cmp.Or(storage.File(cfg.Store.URL), cfg.Store.Spool.Dir)); err != nil {
		return failed(err)
	}
	store, err := app.OpenStoreBeside(cmd.Context(), cfg.Store)
	if err != nil {
		return failed(err)
	}
	month, err := stats.Collect(cmd.Context(), store.Ledger(), o)
	if err = errors.Join(err, store.Close()); err != nil {
		return failed(err)
	}
	return failed(f.print(cmd.OutOrStdout(), month, now))
}

func (f *statsFlags) print(out io.Writer, m *stats.Month, now time.Time) error {
	switch f.format {
	case "csv":
		return m.CSV(printable.Unwrap(out)) // its lines end with CRLF; it escapes everything else itself
	case "json":
		return writeJSON(out, m)
	case "html":
		return m.HTML(out, stats.Lang(f.lang), version, now)
	}
	return m.Text(out)
}
