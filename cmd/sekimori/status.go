package main

import (
	"github.com/spf13/cobra"

	"sekimori/internal/admin"
	"sekimori/internal/app"
	"sekimori/internal/status"
)

func newStatus() *cobra.Command {
	var at adminFlags
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say what the running daemon is doing",
		Long: `Ask the running daemon, over its admin address, for its version, mode and
configuration, sessions, verdicts, DNS and cache, what went wrong, which rules
of policy.overrides decided, and where a candidate policy (shadow) differs.
Exit code 1 if no daemon answers.

With --all, list every daemon that shares the store (store.url) with the one that
is asked: its version, mode, configuration, last heartbeat, the messages of the last
minute and the state of its DNS servers. Remarks say which host is silent, which
runs another configuration than most, and which have the same name. Exit code 1
also if a host is silent or two have the same name.`,
		Example: `  sekimori status
  sekimori status --all
  sekimori status --admin http://127.0.0.1:8892 --json | jq .messages`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := at.client(cmd)
			if err != nil {
				return err
			}
			if all {
				return statusOfAll(cmd, client, asJSON)
			}
			var s status.Status
			if err := client.Get(cmd.Context(), app.StatusPath, nil, &s); err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), &s))
			}
			return failed(s.Text(cmd.OutOrStdout()))
		},
	}
	at.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&all, "all", false, "list every daemon that shares the store")
	return cmd
}

// statusOfAll prints the daemons that share the store.
func statusOfAll(cmd *cobra.Command, client *admin.Client, asJSON bool) error {
	var h status.Hosts
	if err := client.Get(cmd.Context(), app.HostsPath, nil, &h); err != nil {
		return failed(err)
	}
	print := func() error { return h.Text(cmd.OutOrStdout()) }
	if asJSON {
		print = func() error { return writeJSON(cmd.OutOrStdout(), &h) }
	}
	if err := print(); err != nil {
		return failed(err)
	}
	if h.Stale > 0 || h.Twins > 0 {
		return failure{} // the list says what is wrong
	}
	return nil
}
