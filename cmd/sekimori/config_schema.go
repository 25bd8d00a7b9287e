package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sekimori/internal/config"
)

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON schema of the configuration, for editors",
		Long: `Print a JSON schema of the configuration file. An editor with a YAML language
server then completes keys, shows what each key means, and marks mistakes. The
schema is read if the first line of the file names it:

  # yaml-language-server: $schema=/etc/sekimori/schema.json

"sekimori config check" finds more mistakes than an editor can.`,
		Example: `  sekimori config schema > /etc/sekimori/schema.json`,
		Args:    arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := config.Schema()
			if err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", out)
			return failed(err)
		},
	}
}
