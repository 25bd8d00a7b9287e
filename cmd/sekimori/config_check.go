package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
)

func newConfigCheck() *cobra.Command {
	var at adminFlags
	var against bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Load the configuration and say what is wrong with it",
		Long: `Load the configuration and say what is wrong with it: every mistake with its line,
files and groups that do not exist, missing directories of sockets and of the
store, and, as warnings, values that are probably mistakes. Root also hears of
files that the user sekimori may not read.

With --against-running also say which keys differ from those of the running
daemon, and which of them a reload cannot change.

Exit code 0 if the configuration is good, 1 if it is good but a reload is not
enough, 2 if it is not good.`,
		Args: arguments(0, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := fileArgument(at.config, args)
			at.config = path
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			if err := app.Check(cfg); err != nil {
				return config.Place(path, err)
			}
			warnOf(cmd.ErrOrStderr(), cfg, path)
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is good: mode %s, %d listener(s)\n", path, cfg.Mode, len(cfg.Listen)); err != nil {
				return failed(err)
			}
			if !against {
				return nil
			}
			return failed(compareWithRunning(cmd, &at, cfg))
		},
	}
	at.add(cmd)
	cmd.Flags().BoolVar(&against, "against-running", false, "compare with the running daemon's")
	return cmd
}

// warnOf prints what is allowed in the configuration in file path, but probably a mistake.
func warnOf(out io.Writer, cfg *config.Config, path string) {
	if warning := app.Warnings(cfg, time.Now()); warning != nil {
		warn(out, warning.Error())
	}
	for _, text := range append(app.Advice(cfg), app.Access(cfg, path)...) {
		warn(out, text)
	}
}

// compareWithRunning asks the running daemon for its configuration and prints how cfg differs
// from it.
func compareWithRunning(cmd *cobra.Command, at *adminFlags, cfg *config.Config) error {
	client, err := at.client(cmd)
	if err != nil {
		return err
	}
	var running app.Running
	if err := client.Get(cmd.Context(), app.ConfigPath, nil, &running); err != nil {
		return err
	}
	return compare(cmd.OutOrStdout(), running, cfg)
}

// compare prints how cfg differs from the configuration that runs. If changes need a restart, it
// returns an error that lists them.
func compare(out io.Writer, running app.Running, cfg *config.Config) error {
	now, err := config.Parse("the running configuration", []byte(running.Config))
	if err != nil {
		return fmt.Errorf("the daemon that runs has version %s, and this program does not understand its configuration: %s",
			running.Version, err.Error())
	}
	changes := config.Diff(now, cfg)
	if len(changes) == 0 {
		_, err := fmt.Fprintf(out, "process %d runs it (version %s, hash %s)\n", running.PID, running.Version, running.Hash)
		return err
	}
	_, err = fmt.Fprintf(out, "process %d (version %s, hash %s) differs in %d key(s):\n",
		running.PID, running.Version, running.Hash, len(changes))
	if err != nil {
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
