package main

import (
	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/status"
)

func newStatus() *cobra.Command {
	var at adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say what the running daemon is doing",
		Long: `Ask the running daemon, over its admin address, for its version, mode and
configuration, sessions, verdicts, DNS and cache, what went wrong, which rules
of policy.overrides decided, and where a candidate policy (shadow) differs.
Exit code 1 if no daemon answers.`,
		Example: `  sekimori status
  sekimori status --admin http://127.0.0.1:8892 --json | jq .messages`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := at.client(cmd)
			if err != nil {
				return err
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
	return cmd
}
