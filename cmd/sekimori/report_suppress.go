package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/reporting"
)

func newReportSuppress() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "suppress",
		Short: "List, add and lift suppressions: destinations that get no report",
		Long: `A destination whose reports come back is suppressed by itself: at once for 30 days
if the mailbox does not exist, and from the second window on for 7 days, doubling to
90, for other failures. An operator can add a suppression, and lift any.`,
		Args: cobra.ArbitraryArgs, // group looks at them
		RunE: group,
	}
	cmd.AddCommand(newSuppressList(), newSuppressAdd(), newSuppressRemove())
	return cmd
}

func newSuppressList() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the destinations that are suppressed or had failures",
		Example: `  sekimori report suppress list --json | jq '.suppressions[] | select(.active)'`,
		Args:    arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, office, end, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer end()
			list, err := reporting.ListSuppressions(cmd.Context(), office.Store, office.Now)
			if err != nil {
				return failed(err)
			}
			return f.print(cmd, list)
		},
	}
	f.add(cmd)
	f.addJSON(cmd)
	return cmd
}

func newSuppressAdd() *cobra.Command {
	var f storeFlags
	var reason string
	const month = 30 * 24 * time.Hour
	d := month
	cmd := &cobra.Command{
		Use:   "add ADDRESS|@DOMAIN",
		Short: "Send no report to an address, or to any address of a domain, for a time",
		Example: `  sekimori report suppress add rua@shop.example --reason "asked by phone"
  sekimori report suppress add @reports.example --for 2160h`,
		Args: arguments(1, 1, `an address, or "@" and a domain`),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, office, end, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer end()
			if err := reporting.Suppress(cmd.Context(), office.Store, args[0], d, reason, office.Now); err != nil {
				return used(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s gets no report until %s\n", args[0], office.Now.Add(d).UTC().Format("2006-01-02 15:04 MST"))
			return failed(err)
		},
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&d, "for", month, "for how long")
	cmd.Flags().StringVar(&reason, "reason", "by hand", "why, for the next operator")
	return cmd
}

func newSuppressRemove() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:     "remove ADDRESS|@DOMAIN",
		Short:   "Lift a suppression, and forget the failures before it",
		Example: `  sekimori report suppress remove rua@shop.example`,
		Args:    arguments(1, 1, `an address, or "@" and a domain`),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, office, end, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer end()
			if err := reporting.Unsuppress(cmd.Context(), office.Store, args[0]); err != nil {
				return used(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s gets reports again\n", args[0])
			return failed(err)
		},
	}
	f.add(cmd)
	return cmd
}
