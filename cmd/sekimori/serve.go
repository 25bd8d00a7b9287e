package main

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
)

// defaultConfig is where packages put the configuration.
const defaultConfig = "/etc/sekimori/sekimori.yaml"

func newServe() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Run the daemon in the foreground until SIGTERM or SIGINT, then finish the
SMTP sessions in flight and exit. The log goes to standard error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			a, err := app.New(cfg, app.Options{Version: version, Log: cmd.ErrOrStderr()})
			if err != nil {
				return failed(err)
			}
			// A terminal that closes, or a habit from other daemons, must not
			// cut off sessions.
			signal.Ignore(syscall.SIGHUP)
			return failed(a.Run(cmd.Context()))
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return cmd
}
