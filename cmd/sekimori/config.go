package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sekimori/configs"
	"sekimori/internal/app"
	"sekimori/internal/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check or show the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck(), newConfigPrint(), newConfigExample())
	return cmd
}

// fileArgument lets the file be given as --config or as the argument.
func fileArgument(flag string, args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return flag
}

func newConfigCheck() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Load the configuration and say what is wrong with it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := fileArgument(path, args)
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			if err := app.Check(cfg); err != nil {
				return failed(err)
			}
			if warning := app.Warnings(cfg, time.Now()); warning != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), warning)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good: mode %s, %d listener(s)\n", path, cfg.Mode, len(cfg.Listen))
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}

func newConfigPrint() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "print [FILE]",
		Short: "Print the configuration in effect, defaults included, secrets masked",
		Args:  cobra.MaximumNArgs(1),
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

func newConfigExample() *cobra.Command {
	var full bool
	cmd := &cobra.Command{
		Use:   "example",
		Short: "Print an example configuration",
		Args:  cobra.NoArgs,
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
