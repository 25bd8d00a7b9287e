package main

import (
	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show or change the configuration",
		Args:  cobra.ArbitraryArgs, // group looks at them
		RunE:  group,
	}
	cmd.AddCommand(newConfigCheck(), newConfigPrint(), newConfigExample(), newConfigSchema(), newConfigSetMode())
	return cmd
}

// fileArgument returns the file that a command works on: its argument if there is one, otherwise
// the value of --config.
func fileArgument(flag string, args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return flag
}
