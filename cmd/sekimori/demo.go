package main

import (
	"github.com/spf13/cobra"

	"sekimori/internal/demo"
)

func newDemo() *cobra.Command {
	o := demo.Options{Version: version}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show real verdicts: an embedded DNS zone, the daemon and a mail client in one process",
		Long: `Start an authoritative DNS server for a little internet of its own, the daemon
and a client that speaks the milter protocol as Postfix does, all on loopback;
send signed and spoofed sample messages and print what became of each.`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(demo.Run(cmd.Context(), cmd.OutOrStdout(), o))
		},
	}
	cmd.Flags().BoolVar(&o.Keep, "keep", false, "stay up afterwards, with console and metrics to look at, until interrupted")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "one JSON object a message")
	return cmd
}
