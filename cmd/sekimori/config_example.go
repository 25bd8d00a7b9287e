package main

import (
	"github.com/spf13/cobra"

	"sekimori/configs"
)

func newConfigExample() *cobra.Command {
	var full bool
	cmd := &cobra.Command{
		Use:   "example",
		Short: "Print an example configuration",
		Args:  arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := configs.Example
			if full {
				text = configs.Reference
			}
			_, err := cmd.OutOrStdout().Write(text)
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "every key with its default and what it means")
	return cmd
}
