package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/milter/sockets"
	"sekimori/internal/printable"
)

// defaultConfig is where the packages for Debian and others install the configuration.
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

While it finishes, it takes no new session. They wait in systemd's socket for the
next process, such as that of an upgrade. A session between messages has 20
seconds to begin its next one. After drain_timeout the sessions that are left are
cut off, and their clients are told to try again later.

/usr/share/doc/sekimori/README.md shows how to set up Postfix and Sendmail in five
minutes, and names the pages beside it: operate.md has the way from monitor to
enforce, upgrade and downgrade, sizing, and every alert with what to do;
metrics.md has every series.`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), printable.Unwrap(cmd.ErrOrStderr()), func() (*config.Config, error) { return config.Load(path) })
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}

// serve runs the daemon until ctx ends or the daemon fails. It calls load to read the
// configuration, at the start and after a SIGHUP.
func serve(ctx context.Context, log io.Writer, load func() (*config.Config, error)) error {
	// Notify is called first, because before that call a SIGHUP would end the process.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	// SIGPIPE is ignored. Otherwise it would end the daemon when the program that reads the log
	// ends, for example when journald restarts, or in "serve 2>&1 | head".
	signal.Ignore(syscall.SIGPIPE)
	allot, stop := governMemory(nil)
	defer stop()
	a, err := begin(ctx, func() (*app.App, error) {
		cfg, err := load()
		if err != nil {
			return nil, err
		}
		a, err := newDaemon(cfg, log, allot)
		return a, failed(err)
	})
	if err != nil {
		return err
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	go func() {
		for {
			select {
			case <-hangup:
				_ = a.Reload(load) // Reload logs its outcome
			case <-ctx.Done():
				return
			}
		}
	}()
	return failed(a.Run(ctx))
}

// newDaemon makes the daemon with the clock, sockets and limits of this process.
func newDaemon(cfg *config.Config, log io.Writer, allot func(int64)) (*app.App, error) {
	passed, err := sockets.Systemd()
	if err != nil {
		return nil, err
	}
	return app.New(cfg, app.Options{
		Version: version, PID: os.Getpid(), Log: log, Now: time.Now, Registry: prometheus.NewRegistry(),
		Sockets: passed, Supervisor: systemd{}, MemoryAllotted: allot, OpenFiles: openFiles, Interfaces: net.InterfaceAddrs,
	})
}

// begin returns what start returns. If ctx ends first, begin returns an error and does not wait
// for start any longer, because start may read from a file system that hangs, and SIGTERM must
// still work.
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
