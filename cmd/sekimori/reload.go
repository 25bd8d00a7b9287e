package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/admin"
	"sekimori/internal/app"
	"sekimori/internal/config"
)

// reloadPoll is how long the command waits before it asks the daemon again whether the reload has
// ended.
const reloadPoll = 50 * time.Millisecond

func newReload() *cobra.Command {
	var at adminFlags
	var pid int
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running daemon read its configuration again",
		Long: `Check the configuration, send the running daemon a SIGHUP and say whether the
reload succeeded. The process id and the outcome come from the daemon's admin
address; nothing can be changed through that address. With --pid the admin address
is not asked: only the signal is sent, and the daemon's log has the outcome.`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(at.config)
			if err != nil {
				return err
			}
			if err := app.Check(cfg); err != nil {
				return config.Place(at.config, err)
			}
			warnOf(cmd.ErrOrStderr(), cfg, at.config)
			if pid > 0 {
				if err := hangUp(pid); err != nil {
					return failed(err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "process %d was asked to reload; its log says how it went\n", pid)
				return failed(err)
			}
			client, err := at.client(cmd)
			if err != nil {
				return failed(fmt.Errorf("%w; or give its process id (--pid)", err))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return failed(reload(ctx, cmd.OutOrStdout(), client))
		},
	}
	at.add(cmd)
	cmd.Flags().IntVar(&pid, "pid", 0, "the daemon's process id; its admin address is not asked then")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the outcome")
	return cmd
}

func reload(ctx context.Context, out io.Writer, client *admin.Client) error {
	if !client.Local() {
		return errors.New("the admin address is not on this host, and a process id from another host means nothing here; " +
			"run this command there, or give --pid")
	}
	var before, now app.Running
	if err := client.Get(ctx, app.ConfigPath, nil, &before); err != nil {
		return err
	}
	if err := hangUp(before.PID); err != nil {
		return err
	}
	for {
		select {
		case <-time.After(reloadPoll):
		case <-ctx.Done():
			return fmt.Errorf("process %d does not say whether the reload succeeded; see its log", before.PID)
		}
		// An error may be temporary, because the reload may move the admin address.
		if err := client.Get(ctx, app.ConfigPath, nil, &now); err != nil || now.Reload.Tries == before.Reload.Tries {
			continue
		}
		if !now.Reload.Successful {
			return errors.New(now.Reload.Error)
		}
		_, err := fmt.Fprintf(out, "process %d runs the configuration %s since %s\n", now.PID, now.Hash, now.Since.Format(time.RFC3339))
		return err
	}
}

// hangUp sends SIGHUP to the process pid if its name is sekimori. It checks the name because
// another program may answer at the admin address while the daemon is down, and may return any
// process id.
func hangUp(pid int) error {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return fmt.Errorf("no process %d: %w", pid, err)
	}
	if comm := strings.TrimSpace(string(name)); comm != "sekimori" {
		return fmt.Errorf("process %d is %q, which is not sekimori", pid, comm)
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return fmt.Errorf("signal to process %d: %w; run the command as root or as the daemon's user", pid, err)
	}
	return nil
}
