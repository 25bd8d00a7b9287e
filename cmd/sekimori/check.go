package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/domaincheck"
	"sekimori/internal/ledger"
	"sekimori/internal/printable"
	storage "sekimori/internal/store"
)

func newCheck() *cobra.Command {
	var path string
	var selectors []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check DOMAIN",
		Short: "Say what a domain publishes about its mail, and what is wrong with it",
		Long: `Look at a domain as a receiver of its mail does: its mail servers, its SPF record
with the lookups that it needs, its DMARC record with the tree walk, who gets the
reports and whether they agreed, the DKIM keys of the selectors given, and its BIMI
record, or that of its Organizational Domain. Each fault comes with the section that it
offends against, and with what to change. A selector is the value of s= in a
DKIM-Signature of the domain. With a store (store.url), the keys are looked at too
whose signatures passed on the last day on which such mail came in here.

The records are read by the parsers of the daemon, and asked for at its DNS servers.

Exit code 0 if nothing is broken or missing, 1 if something is, or if a lookup
failed.`,
		Example: `  sekimori check example.jp
  sekimori check example.jp --selector s2026 --selector news --json`,
		Args: arguments(1, 1, "one domain"),
		RunE: func(cmd *cobra.Command, args []string) error {
			domain, err := dns.ParseHostname(args[0])
			if err != nil {
				return fmt.Errorf("%q is not a domain with two labels or more", args[0])
			}
			var names []dns.Name
			for _, s := range selectors {
				name, err := dns.ParseName(s)
				if err != nil || name == "" {
					return fmt.Errorf("--selector: %q is not a selector", s)
				}
				names = append(names, name)
			}
			cfg, err := loadOptional(path, cmd.Flags().Changed("config"))
			if err != nil {
				return err
			}
			o := domaincheck.Options{Now: time.Now()}
			if o.Discovery, err = app.Discovery(cfg); err != nil {
				return failed(err)
			}
			if cfg.Store.On() {
				if o.Seen, err = seen(cmd.Context(), cfg, domain, o.Now); err != nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "The store cannot be read, so only the selectors given are looked at: %s\n", printable.Value(err.Error()))
				}
			}
			network, err := app.NewResolver(cfg, nil, nil)
			if err != nil {
				return failed(err)
			}
			defer network.Close()
			report := domaincheck.Check(cmd.Context(), network, domain, names, o)
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), report)
			} else {
				err = report.Text(cmd.OutOrStdout())
			}
			if err == nil && !report.Passed() {
				return failure{}
			}
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "the daemon's configuration file, for its DNS servers")
	cmd.Flags().StringArrayVar(&selectors, "selector", nil, "a DKIM selector of the domain (repeatable)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// storeTime is how long the store has to answer: what it knows is only an addition.
const storeTime = 10 * time.Second

// seen returns the keys of the domain that the store knows.
func seen(ctx context.Context, cfg *config.Config, domain dns.Name, now time.Time) ([]domaincheck.Signer, error) {
	// PostgreSQL may know a user of its unix socket by the name in the system ("peer").
	if err := becomeOwner(cmp.Or(storage.File(cfg.Store.URL), cfg.Store.Spool.Dir)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	store, err := app.OpenStoreBeside(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // nothing was written
	return domaincheck.Seen(ctx, store.Ledger(), domain, ledger.DayOf(now))
}
