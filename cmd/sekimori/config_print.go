package main

import (
	"github.com/spf13/cobra"

	"sekimori/internal/config"
)

func newConfigPrint() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "print [FILE]",
		Short: "Print the configuration in effect, defaults included, secrets masked",
		Args:  arguments(0, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := config.Load(fileArgument(path, args))
			if err != nil {
				return err
			}
			return failed(cfg.Print(cmd.OutOrStdout()))
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}
