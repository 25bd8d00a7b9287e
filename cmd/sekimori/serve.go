package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/printable"
)

// defaultConfig is where packages put the configuration.
const defaultConfig = "/etc/sekimori/sekimori.yaml"

func newServe() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Run the daemon in the foreground until SIGTERM or SIGINT, then finish the
SMTP sessions in flight and exit. SIGHUP reads the configuration again: all of
it comes into effect, or nothing does and the log says why. The log goes to
standard error.

While it finishes, no new session is taken: systemd's socket lets them wait for
the next process, such as that of an upgrade. A session between messages is
given 20 seconds for its next one. After drain_timeout what is still there is
cut off and told to come again.

/usr/share/doc/sekimori/README.md has Postfix and Sendmail in five minutes, and
names the pages beside it: operate.md has the way from monitor to enforce,
upgrade and downgrade, sizing and every alert with what to do, metrics.md every
series.`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Before anything else: without this a SIGHUP ends the process.
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			// Without this a log that nobody reads any more ends the daemon: a
			// journald that was restarted, "serve 2>&1 | head".
			signal.Ignore(syscall.SIGPIPE)
			load := func() (*config.Config, error) { return config.Load(path) }
			a, err := begin(cmd.Context(), func() (*app.App, error) {
				cfg, err := load()
				if err != nil {
					return nil, err
				}
				a, err := app.New(cfg, app.Options{Version: version, Log: printable.Unwrap(cmd.ErrOrStderr())})
				return a, failed(err)
			})
			if err != nil {
				return err
			}
			ctx, done := context.WithCancel(cmd.Context())
			defer done()
			go func() {
				for {
					select {
					case <-hangup:
						_ = a.Reload(load) // the log says how it went
					case <-ctx.Done():
						return
					}
				}
			}()
			return failed(a.Run(ctx))
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}

// begin returns what start does, or that ctx ended first: a file system that
// hangs must not keep SIGTERM waiting.
func begin(ctx context.Context, start func() (*app.App, error)) (*app.App, error) {
	type outcome struct {
		a   *app.App
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		a, err := start()
		done <- outcome{a, err}
	}()
	select {
	case o := <-done:
		return o.a, o.err
	case <-ctx.Done():
		return nil, failed(errors.New("asked to stop while starting, perhaps waiting for a file that cannot be read"))
	}
}
