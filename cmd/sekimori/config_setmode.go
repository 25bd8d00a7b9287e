package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"sekimori/internal/config"
	"sekimori/internal/policy"
)

func newConfigSetMode() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "set-mode monitor|enforce [FILE]",
		Short: "Write the line with the mode into the configuration",
		Long: `Write the line with the mode into the configuration, and leave everything else
in it as it is. The file is replaced at once and keeps its owner and
permissions. The running daemon is not told: "sekimori reload" does that.`,
		Args:      arguments(1, 2, "the mode, monitor or enforce, and at most one file"),
		ValidArgs: []string{string(policy.Monitor), string(policy.Enforce)},
		RunE: func(cmd *cobra.Command, args []string) error {
			mode, path := policy.Mode(args[0]), fileArgument(path, args[1:])
			if !slices.Contains(policy.Modes, mode) {
				return fmt.Errorf("%q is not a mode; write monitor or enforce", mode)
			}
			if err := config.WriteMode(path, mode); err != nil {
				var bad *config.Error
				if errors.As(err, &bad) {
					return err
				}
				return failed(err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s states mode %s; \"sekimori reload\" brings it into effect\n", path, mode)
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}
