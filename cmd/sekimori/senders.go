package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/ledger"
	"sekimori/internal/senders"
)

func newSenders() *cobra.Command {
	var f storeFlags
	var domain string
	o := senders.Options{}
	cmd := &cobra.Command{
		Use:   "senders [--broken] [--domain DOMAIN] [--days N]",
		Short: "Say who sends mail here, what of it passes, and what stopped working",
		Long: `List the author domains with the most mail, from the ledger in the store: how much
passes DMARC and by what, the published policy, how many keys sign and from how many
networks mail that passes comes. With --domain, show one domain by day, with its keys
and networks.

With --broken, list the senders whose mail stopped to authenticate in these days: what
happened, when it was found, the evidence, an example, and a text that you can mail to
that postmaster. memory.md in /usr/share/doc/sekimori lists the kinds.

The command reads the configuration of the daemon for the place of the store
(store.url), and may be called while the daemon runs. As root it becomes the owner of
the store first.`,
		Example: `  sekimori senders
  sekimori senders --domain shop.example --days 90
  sekimori senders --broken --json | jq -r '.senders[].trouble[].mail.text'`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkDays(o.Days); err != nil {
				return err
			}
			if o.Limit < 1 || o.Limit > senders.MaxLimit {
				return fmt.Errorf("--limit must be 1 to %d", senders.MaxLimit)
			}
			if domain != "" {
				var err error
				if o.Domain, err = senders.ParseDomain(domain); err != nil {
					return fmt.Errorf("--domain: %w", err)
				}
			}
			cfg, store, err := f.store(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = store.Close() }() // nothing was written
			o.Ledger, o.Now = store.Ledger(), time.Now()
			o.Organization, o.Contact = cfg.Report.Organization, cfg.Report.Contact
			list, err := senders.Find(cmd.Context(), o)
			if err != nil {
				return failed(err)
			}
			return f.print(cmd, list)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.Broken, "broken", false, "only senders for whom something stopped working, with a mail to each")
	flags.StringVar(&domain, "domain", "", "only this domain, in detail; a subdomain stands for its registered domain")
	flags.IntVar(&o.Days, "days", 30, "the last days to look at, today included")
	flags.IntVar(&o.Limit, "limit", senders.DefaultLimit, "how many senders to list")
	f.addJSON(cmd)
	return cmd
}

// checkDays checks the value of --days.
func checkDays(n int) error {
	if n < 1 || n > ledger.KeepDays {
		return fmt.Errorf("--days must be 1 to %d, the days that the ledger keeps", ledger.KeepDays)
	}
	return nil
}
