package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sekimori/configs"
	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/policy"
	"sekimori/internal/telemetry"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, show or change the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheck(), newConfigPrint(), newConfigExample(), newConfigSetMode())
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
	var at adminFlags
	var against bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Load the configuration and say what is wrong with it",
		Long: `Load the configuration and say what is wrong with it. With --against-running
also say which keys differ from those of the running daemon, and which of them
a reload cannot change: then the exit code is 1.`,
		Args: arguments(0, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := fileArgument(at.config, args)
			at.config = path
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			if err := app.Check(cfg); err != nil {
				return failed(err)
			}
			if warning := app.Warnings(cfg, time.Now()); warning != nil {
				telemetry.Say(cmd.ErrOrStderr(), slog.LevelWarn, warning.Error())
			}
			for _, text := range app.Advice(cfg) {
				telemetry.Say(cmd.ErrOrStderr(), slog.LevelWarn, text)
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is good: mode %s, %d listener(s)\n", path, cfg.Mode, len(cfg.Listen)); err != nil {
				return failed(err)
			}
			if !against {
				return nil
			}
			client, err := at.client(cmd)
			if err != nil {
				return failed(err)
			}
			var running app.Running
			if err := client.Get(cmd.Context(), app.ConfigPath, nil, &running); err != nil {
				return failed(err)
			}
			return failed(compare(cmd.OutOrStdout(), running, cfg))
		},
	}
	at.add(cmd)
	cmd.Flags().BoolVar(&against, "against-running", false, "compare with the running daemon's")
	return cmd
}

// compare says how cfg differs from what runs. The error says what needs a
// restart.
func compare(out io.Writer, running app.Running, cfg *config.Config) error {
	now, err := config.Parse("the running configuration", []byte(running.Config))
	if err != nil {
		return fmt.Errorf("version %s runs, which has other keys: %s", running.Version, err.Error())
	}
	changes := config.Diff(now, cfg)
	if len(changes) == 0 {
		_, err := fmt.Fprintf(out, "process %d runs it (version %s, hash %s)\n", running.PID, running.Version, running.Hash)
		return err
	}
	if _, err := fmt.Fprintf(out, "process %d (version %s, hash %s) differs in %d key(s):\n", running.PID, running.Version, running.Hash, len(changes)); err != nil {
		return err
	}
	for _, c := range changes {
		if _, err := fmt.Fprintf(out, "  %s: %s -> %s\n", c.Path, c.Old, c.New); err != nil {
			return err
		}
	}
	if needs := app.NeedsRestart(now, cfg); len(needs) > 0 {
		return fmt.Errorf("a restart is needed for:\n  %s", strings.Join(needs, "\n  "))
	}
	_, err = fmt.Fprintln(out, "a reload brings all of it into effect")
	return err
}

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
